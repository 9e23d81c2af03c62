package guest

import (
	"os/exec"
	"testing"
)

func TestAMX(t *testing.T) {
	t.Parallel()
	for info, want := range map[string]bool{
		"processor\t: 0\nflags\t\t: fpu avx512f amx_bf16 avx512_fp16 amx_tile amx_int8\nbugs\t\t: spectre_v1\n": true,
		"processor\t: 0\nflags\t\t: fpu avx512f\nbugs\t\t: amx_tile\n":                                          false,
		"": false,
	} {
		if got := amx.MatchString(info); got != want {
			t.Errorf("%q has AMX: got %v, want %v", info, got, want)
		}
	}
}

// The library is compiled on each machine, or it would rot where it is not needed.
func TestXstateCompiles(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("cc"); err != nil {
		unavailable(t, err)
	}
	if _, err := buildXstate(t.TempDir()); err != nil {
		t.Fatal(err)
	}
}
