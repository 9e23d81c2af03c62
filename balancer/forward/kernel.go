package forward

// A KernelMode says when a [Reactor] lets the kernel do the TLS of a side.
type KernelMode uint8

const (
	// KernelOff never does.
	KernelOff KernelMode = iota
	// KernelAuto does where the kernel can do all that a session may need: in
	// TLS 1.3 it must be able to change keys, as a peer may at any time.
	KernelAuto
	// KernelAlways also does where it cannot: a KeyUpdate of the peer then ends
	// the session.
	KernelAlways
)
