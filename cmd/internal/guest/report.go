package guest

// What the harness and the guest's init agree upon. Paths are the guest's,
// without the slash that they begin with.
const (
	jobPath     = "job.json"
	programPath = "program"

	// reportPath is a serial line: the one output that every machine has. It
	// must not be the console, to which the kernel talks.
	reportPath = "dev/ttyS1"
)

// modulePath is where a module lies in the guest.
func modulePath(name string) string { return "modules/" + name }

// A job tells init what to do.
type job struct {
	Modules []string // in the order in which they need each other
	Args    []string
	Env     []string
}

// An event is one thing that init has to say, as an object of JSON: a serial
// line may turn newlines into others and lose nothing thereby. First comes a
// Kernel, then any number of Output, at last an Outcome, and instead of any of
// them a Failure.
type event struct {
	Kernel  string   `json:",omitempty"` // its release; the program is about to start
	Output  []byte   `json:",omitempty"`
	Outcome *outcome `json:",omitempty"`
	Failure string   `json:",omitempty"` // of init itself
}

// An outcome is how the program ended.
type outcome struct {
	ExitCode int
	TLSStat  map[string]int64
}
