package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"usher.example/cluster/place"
)

func writeFile(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pins")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPins(t *testing.T) {
	names := place.Names{LowerCase: true, DefaultDomain: "example.org"}
	path := writeFile(t, "# who\twhere\n\nJoe store2\r\n  eve@other.example\t \tstore3\n#x store9\nhash#tag store1\njoe@example.org store2\nlast store1")
	pins, err := ReadPins(path, names, mainPool(place.Shared, 3))
	if err != nil {
		t.Fatal(err)
	}
	want := Pins{"joe@example.org": "store2", "eve@other.example": "store3", "hash#tag@example.org": "store1", "last@example.org": "store1"}
	if fmt.Sprint(pins) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", pins, want)
	}

	p := mainPool(place.Shared, 3)
	p.Pins = pins
	s := alone(t, FleetOptions{Names: names}, p)
	if b, why := s.login(t, "JOE"); b != "store2" || why != place.ByPin {
		t.Errorf("JOE on %s by %s, want store2 by pin", b, why)
	}
}

func TestPinToABackendThatIsDown(t *testing.T) {
	for _, storage := range []place.Storage{place.Shared, place.Local} {
		t.Run(storage.String(), func(t *testing.T) {
			s := alone(t, FleetOptions{}, mainPool(storage, 3))
			if err := s.f.Move(t.Context(), "main", "joe", "store2", "test"); err != nil {
				t.Fatal(err)
			}
			s.health(t, "store2", false)
			b, why, hold, err := s.f.Place(t.Context(), "main", "joe")
			if storage == place.Local {
				if want := "pool main: no usable back end but the user's own: store2 (health)"; err == nil || err.Error() != want {
					t.Errorf("error %v, want %s", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s.f.Release(hold)
			if b == "store2" || why != place.ByHome {
				t.Errorf("%s by %s, want another by home", b, why)
			}
		})
	}
}

func TestPinToABackendThatWasRemoved(t *testing.T) {
	s := alone(t, FleetOptions{}, mainPool(place.Local, 3))
	if err := s.f.Move(t.Context(), "main", "joe", "store3", "test"); err != nil {
		t.Fatal(err)
	}
	s.update(t, mainPool(place.Local, 2))
	_, _, _, err := s.f.Place(t.Context(), "main", "joe")
	if want := "pool main: no usable back end but the user's own: store3 (unknown)"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s: his mail is not elsewhere", err, want)
	}
}

func TestBadPins(t *testing.T) {
	pool := mainPool(place.Shared, 2)
	path := writeFile(t, "joe store2\nalone\neve store9\nann store1\nann store2\na b c\n")
	_, err := ReadPins(path, place.Names{}, pool)
	if err == nil {
		t.Fatal("no error")
	}
	want := []string{
		path + ":2: 1 words, a pin is two: a user and a back end",
		path + `:3: the pool has no back end "store9"`,
		path + `:5: user "ann" is pinned to "store1" already`,
		path + ":6: 3 words, a pin is two: a user and a back end",
	}
	if err.Error() != strings.Join(want, "\n") {
		t.Errorf("got\n%v\nwant\n%v", err, strings.Join(want, "\n"))
	}
	if _, err := ReadPins(filepath.Join(t.TempDir(), "missing"), place.Names{}, pool); err == nil {
		t.Error("a file that is not there: no error")
	}
}

func TestPinsAreBounded(t *testing.T) {
	pool := mainPool(place.Shared, 1)
	_, err := ReadPins(writeFile(t, strings.Repeat("x\n", 200)), place.Names{}, pool)
	if err == nil || strings.Count(err.Error(), "\n") != maxPinsProblems || !strings.HasSuffix(err.Error(), "and 150 more") {
		t.Errorf("200 wrong lines: error %v", err)
	}
	_, err = ReadPins(writeFile(t, "joe store1\n"+strings.Repeat("x", maxPinsLine+1)), place.Names{}, pool)
	if err == nil || !strings.Contains(err.Error(), ":2: the line is longer") {
		t.Errorf("long line: error %v", err)
	}
	_, err = parsePins(endless{}, "pins", place.Names{}, nil)
	if err == nil || !strings.Contains(err.Error(), "larger than 64 MiB") {
		t.Errorf("endless file: error %v", err)
	}
}

// endless is a file of comments without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '#'
		if i%4000 == 3999 {
			p[i] = '\n'
		}
	}
	p[len(p)-1] = '\n' // the next Read begins a line
	return len(p), nil
}

func FuzzPins(f *testing.F) {
	f.Add("joe store1\n# x\n\neve\tstore2\n")
	f.Add("\x00 \xff\n")
	known := map[string]bool{"store1": true, "store2": true}
	f.Fuzz(func(t *testing.T, content string) {
		pins, err := parsePins(strings.NewReader(content), "pins", place.Names{LowerCase: true}, known)
		if (pins == nil) == (err == nil) {
			t.Fatalf("pins %v with error %v", pins, err)
		}
		for user, b := range pins {
			if user == "" || !known[b] {
				t.Fatalf("pin of %q to %q", user, b)
			}
		}
	})
}
