package guest

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
)

// An archive writes cpio's "newc" format, the one that the kernel takes for an
// initramfs (Documentation/driver-api/early-userspace/buffer-format.rst in its
// source): a header of hexadecimal numbers, a name, data, each padded to four
// octets.
type archive struct {
	w      *bufio.Writer
	offset int
	inode  uint32
}

const (
	newcMagic = "070701"
	trailer   = "TRAILER!!!"

	// The types of a Unix file, which io/fs numbers otherwise.
	typeRegular = 0o100000
	typeDir     = 0o040000
	typeDevice  = 0o020000
)

func newArchive(w io.Writer) *archive { return &archive{w: bufio.NewWriter(w)} }

// add writes one file; the folder that it lies in must have come before.
func (a *archive) add(name string, f file) error {
	switch {
	case f.mode.IsDir():
		return a.entry(name, typeDir|uint32(f.mode.Perm()), file{}, nil)
	case f.mode&fs.ModeCharDevice != 0:
		return a.entry(name, typeDevice|uint32(f.mode.Perm()), f, nil)
	case !f.mode.IsRegular():
		return fmt.Errorf("%s: a file of mode %v has no place in an initramfs", name, f.mode)
	}
	data, err := f.content()
	if err != nil {
		return err
	}
	return a.entry(name, typeRegular|uint32(f.mode.Perm()), file{}, data)
}

func (a *archive) entry(name string, mode uint32, device file, data []byte) error {
	a.inode++
	fields := [...]uint32{
		a.inode, mode, 0, 0, // inode, mode, user, group
		1, 0, uint32(len(data)), // links, time, size
		0, 0, device.major, device.minor,
		uint32(len(name) + 1), 0, // the name's size with its final zero, no checksum
	}
	header := []byte(newcMagic)
	for _, field := range fields {
		header = fmt.Appendf(header, "%08x", field)
	}
	if err := a.padded(append(header, name+"\x00"...)); err != nil {
		return err
	}
	return a.padded(data)
}

func (a *archive) padded(p []byte) error {
	a.offset += len(p)
	padding := -a.offset & 3
	a.offset += padding
	if _, err := a.w.Write(p); err != nil {
		return err
	}
	_, err := a.w.Write(make([]byte, padding))
	return err
}

func (a *archive) close() error {
	if err := a.entry(trailer, 0, file{}, nil); err != nil {
		return err
	}
	return a.w.Flush()
}
