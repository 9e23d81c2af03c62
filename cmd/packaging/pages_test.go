package packaging_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// program builds usher once. The path is good as long as this process lives; the file
// has no name any more.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "usher-packaging-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "usher")
	if out, err := exec.Command("go", "build", "-o", file, "../usher").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build usher: %w\n%s", err, out)
	}
	fd, err := syscall.Open(file, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd), err
})

// usher is a folder with the program.
func usher(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	file, err := program()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, filepath.Join(dir, "usher")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestPages has groff and mandoc read every page.
func TestPages(t *testing.T) {
	need(t, "man", "mandoc")
	dir := filepath.Join(t.TempDir(), "man8")
	if out, err := exec.Command(filepath.Join(usher(t), "usher"), "man", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	pages, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "man?", "*"))
	if err != nil || len(pages) < 20 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	// Two things that cobra does on all pages: a tab before each inherited flag, and a
	// date of month and year.
	out, _ := exec.Command("mandoc", append([]string{"-Tlint", "-Wwarning"}, pages...)...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		month := strings.Contains(line, "cannot parse date") && !strings.Contains(line, "usher.toml.5")
		if !strings.Contains(line, "tab in filled text") && !month {
			t.Errorf("mandoc: %s", strings.TrimSpace(line))
		}
	}
	for _, page := range pages {
		cmd := exec.Command("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANROFFSEQ=")
		var said strings.Builder
		cmd.Stderr = &said
		if err := cmd.Run(); err != nil || said.Len() > 0 {
			t.Errorf("man %s: %v\n%s", page, err, said.String())
		}
	}
	t.Logf("%d pages", len(pages))
}

// TestCompletion has the shells complete a verb.
func TestCompletion(t *testing.T) {
	dir := usher(t)
	for _, tt := range []struct{ shell, file, script string }{
		{"bash", "usher.bash", `
			source /usr/share/bash-completion/bash_completion; source "$0/usher.bash"
			COMP_WORDS=(usher stat) COMP_CWORD=1 COMP_LINE="usher stat" COMP_POINT=10 COMP_TYPE=9 COMP_KEY=9
			$(complete -p usher | sed 's/.*-F \([^ ]*\).*/\1/')
			echo "${COMPREPLY[@]}"`},
		{"zsh", "_usher", `
			zmodload zsh/zpty
			zpty z zsh -f -i
			zpty -w z "PS1=; fpath=($0 \$fpath); autoload -Uz compinit; compinit -u -D; echo LOA''DED"
			zpty -r z out '*LOADED*'
			zpty -w -n z $'usher stat\t'
			zpty -r z out '*usher status*'
			echo $out`},
		{"fish", "usher.fish", `source $argv[1]/usher.fish; complete -C "usher stat"`},
	} {
		t.Run(tt.shell, func(t *testing.T) {
			need(t, tt.shell)
			text, err := exec.Command(filepath.Join(dir, "usher"), "completion", tt.shell).Output()
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, tt.file), text, 0o644); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, tt.shell, "-c", tt.script, dir)
			cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TERM=dumb", "LC_ALL=C.UTF-8"}
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "status") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
