package guest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// uml runs user-mode-linux: a kernel that is an ordinary process, and whose
// root is a folder of this machine.
type uml struct{}

// memoryDirs are where a guest may keep its memory; the first is RAM itself.
func memoryDirs() []string { return []string{"/dev/shm", os.TempDir()} }

func (uml) available() error {
	_, err := executableDir(memoryDirs()...)
	return err
}

func (uml) command(dir string, k kernel, files tree) (*exec.Cmd, error) {
	if strings.ContainsAny(dir, " \t\"") {
		return nil, fmt.Errorf("a kernel's command line cannot name the folder %q", dir)
	}
	ram, err := executableDir(memoryDirs()...)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(dir, "root")
	if err := files.writeDir(root); err != nil {
		return nil, err
	}
	cmd := exec.Command(
		k.file(imageName),
		fmt.Sprintf("mem=%dM", memory),
		"root=/dev/root", "rootfstype=hostfs", "rootflags="+root, "rw", "init=/init",
		// Consoles and serial lines: nothing, but for the kernel's own on
		// descriptor 1 and the report's on 3.
		"con=null", "con0=null,fd:1", "ssl=null", "ssl1=null,fd:3",
		"uml_dir="+filepath.Join(dir, "uml"), "umid=guest",
	)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + ram}
	if wide() {
		library, err := buildXstate(dir)
		if err != nil {
			return nil, err
		}
		cmd.Env = append(cmd.Env, "LD_PRELOAD="+library)
	}
	return cmd, nil
}

// executableDir returns the first folder where a guest can keep its memory: in
// a file, which it must be able to execute.
func executableDir(dirs ...string) (string, error) {
	const noExec = 0x8 // ST_NOEXEC of statvfs(3)
	var errs []error
	for _, dir := range dirs {
		var fs syscall.Statfs_t
		err := syscall.Statfs(dir, &fs)
		switch {
		case err != nil:
			err = fmt.Errorf("%s: %w", dir, err)
		case fs.Flags&noExec != 0:
			err = fmt.Errorf("%s: nothing may be executed there", dir)
		case fs.Bavail*uint64(fs.Bsize) < memory<<20:
			err = fmt.Errorf("%s: less than %d MiB are free", dir, memory)
		default:
			return dir, nil
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("find room for the guest's memory: %w", errors.Join(errs...))
}
