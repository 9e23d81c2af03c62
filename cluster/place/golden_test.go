package place

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestGolden holds the placement function: testdata/golden.txt was written by
// another implementation and is frozen.
func TestGolden(t *testing.T) {
	f, err := os.Open("testdata/golden.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	seen := map[string]int{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		seen[words[0]]++
		var got, want string
		switch words[0] {
		case "log":
			got, want = fmt.Sprint(negLog2(hexUint(t, words[1]))), words[2]
		case "key":
			mapKey, _ := hex.DecodeString(strings.TrimPrefix(words[1], "-"))
			name, err := strconv.Unquote(words[3])
			if err != nil {
				t.Fatalf("line %d: %v", n, err)
			}
			got, want = fmt.Sprintf("%016x", uint64(NewKeyer(mapKey).Key(words[2], name))), words[4]
		case "home":
			got, want = homeName(Key(hexUint(t, words[1])), goldenView(t, words[3:])), words[2]
		case "many":
			left, right, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "many "), " = ")
			got, want = goldenMany(goldenView(t, strings.Fields(left))), right
		default:
			t.Fatalf("line %d: unknown kind %q", n, words[0])
		}
		if got != want {
			t.Errorf("line %d: %s: got %s, want %s", n, lines.Text(), got, want)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	for kind, least := range map[string]int{"log": 30, "key": 20, "home": 60, "many": 5} {
		if seen[kind] < least {
			t.Errorf("%d vectors of kind %q, want at least %d", seen[kind], kind, least)
		}
	}
}

// goldenMany places 10,000 users and returns their number per back end and a
// digest of all the answers.
func goldenMany(v View) string {
	keys := users(10000)
	count := map[string]int{}
	digest := sha256.New()
	for _, k := range keys {
		name := homeName(k, v)
		count[name]++
		fmt.Fprintln(digest, name)
	}
	var out strings.Builder
	for b := range v.All {
		fmt.Fprintf(&out, "%s:%d ", b.Name, count[b.Name])
	}
	return out.String() + hex.EncodeToString(digest.Sum(nil)[:8])
}

func goldenView(t *testing.T, words []string) View {
	t.Helper()
	var list []Backend
	for i, w := range words {
		name, weight, _ := strings.Cut(w, ":")
		n, err := strconv.Atoi(weight)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, Backend{ID: uint16(i), Name: name, Weight: n})
	}
	return view(t, Shared, list...)
}

func hexUint(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// users returns the keys of user0@example.org and so on, under a map key of 32
// counted bytes.
func users(n int) []Key {
	mapKey := make([]byte, 32)
	for i := range mapKey {
		mapKey[i] = byte(i)
	}
	y := NewKeyer(mapKey)
	keys := make([]Key, n)
	for i := range keys {
		keys[i] = y.Key("main", fmt.Sprintf("user%d@example.org", i))
	}
	return keys
}

func homeName(k Key, v View) string {
	if b, ok := Home(k, v); ok {
		return b.Name
	}
	return "-"
}

func view(t testing.TB, s Storage, list ...Backend) View {
	t.Helper()
	v, err := NewView(s, list)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
