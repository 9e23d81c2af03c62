package guest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// qemu emulates a processor of this one's family. It never asks for hardware
// virtualization: a /dev/kvm that can be opened may belong to something that
// does not run an ordinary kernel.
//
// Both processors take turns on one thread. With a thread for each, one may run
// into the breakpoint with which Linux patches its own code when the other has
// long taken it away again: one boot in twenty dies of it ("Oops: int3") in
// QEMU 7.2, which is Debian 12's.
type qemu struct{}

// qemuProgram is in Debian's package qemu-system-x86.
const qemuProgram = "qemu-system-x86_64"

func (qemu) available() error {
	_, err := exec.LookPath(qemuProgram)
	return err
}

func (qemu) command(dir string, k kernel, files tree) (*exec.Cmd, error) {
	program, err := exec.LookPath(qemuProgram)
	if err != nil {
		return nil, err
	}
	all := tree{
		// Until init has mounted /dev; Go wants them when it starts.
		"dev/console": {mode: os.ModeDevice | os.ModeCharDevice | 0o600, major: 5, minor: 1},
		"dev/null":    {mode: os.ModeDevice | os.ModeCharDevice | 0o666, major: 1, minor: 3},
	}
	all.add(files)
	initramfs := filepath.Join(dir, "initramfs")
	if err := all.writeArchiveFile(initramfs); err != nil {
		return nil, err
	}
	return exec.Command(
		program,
		"-accel", "tcg,thread=single", "-cpu", "max", "-smp", "2", "-m", strconv.Itoa(memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-serial", "file:/dev/fd/3",
		"-kernel", k.file(imageName), "-initrd", initramfs,
		"-append", "console=ttyS0 rdinit=/init panic=-1",
	), nil
}

// writeArchiveFile makes a file of the tree as Linux unpacks it.
func (t tree) writeArchiveFile(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := t.writeArchive(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
