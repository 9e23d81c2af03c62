package gauge

// Ways are how groups can be kept together, each by a function that makes a group
// or says why it cannot be had here.
var Ways = map[string]func(name string) (*Group, error){
	"version 1": with(newVersion1),
	"version 2": with(newVersion2),
	"tree":      with(newTree),
}

func with(make func(string) (way, error)) func(string) (*Group, error) {
	return func(name string) (*Group, error) {
		w, err := make(name)
		if err != nil {
			return nil, err
		}
		return &Group{name: name, way: w}, nil
	}
}

// Parsers for those who fuzz them.
var (
	ParseStat = func(text []byte) (parent int, err error) {
		s, err := parseStat(text)
		return s.parent, err
	}
	ParseRollup  = parseRollup
	ParseNumbers = parseNumbers
	ParseMounts  = func(text []byte) (dirs []string) {
		for _, m := range parseMounts(text) {
			dirs = append(dirs, m.dir)
		}
		return dirs
	}
	ParseMembership = parseMembership
)
