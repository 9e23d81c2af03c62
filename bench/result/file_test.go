package result

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestFile(t *testing.T) {
	r := made()
	name := filepath.Join(t.TempDir(), "run.json")
	if err := r.WriteFile(name); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "run.json", text)
	back, err := ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, r) {
		t.Errorf("read back\n%+v\nwant\n%+v", back, r)
	}
}

func TestWriteRefuses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(r *Run)
		want  string
	}{
		{"no number", func(r *Run) { r.Samples[0].Value = math.NaN() }, "no measured value"},
		{"infinite", func(r *Run) { r.Samples[0].Value = math.Inf(-1) }, "no measured value"},
		{"infinite in a series", func(r *Run) { r.Series[0].Y[1] = math.Inf(1) }, "no measured value"},
		{"schema", func(r *Run) { r.Schema = 2 }, "schema 2"},
		{"direction", func(r *Run) { r.Samples[0].Better = "" }, "better is"},
		{"stranger", func(r *Run) { r.Samples[0].Target = "exim" }, "not in the list"},
		{"stranger's fault", func(r *Run) { r.Faults[0].Target = "exim" }, "not in the list"},
		{"unnamed", func(r *Run) { r.Samples[0].Scenario = "" }, "no name"},
		{"name that is a path", func(r *Run) { r.Samples[0].Metric = "../x" }, "letters"},
		{"unit changes", func(r *Run) { r.Samples[1].Unit = "ms" }, "was \"µs\""},
		{"twice", func(r *Run) { r.Samples[1] = r.Samples[0] }, "twice"},
		{"target twice", func(r *Run) { r.Targets[1] = r.Targets[0] }, "listed twice"},
		{"times fall", func(r *Run) { r.Series[0].X[3] = 0 }, "times fall"},
		{"times without values", func(r *Run) { r.Series[0].Y = nil }, "0 values"},
		{"too long", func(r *Run) { r.Machine.CPU = strings.Repeat("x", maxText+1) }, "octets"},
		{"not to be printed", func(r *Run) { r.Settings["curve"] = "\x1b[2J" }, "cannot be printed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := made()
			tt.spoil(r)
			name := filepath.Join(t.TempDir(), "run.json")
			err := r.WriteFile(name)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("WriteFile: %v, want an error with %q", err, tt.want)
			}
			if _, err := os.Stat(name); err == nil {
				t.Error("the file was written all the same")
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	var b bytes.Buffer
	if err := made().encode(&b); err != nil {
		t.Fatal(err)
	}
	whole := b.String()
	for _, tt := range []struct{ name, text, want string }{
		{"another schema", strings.Replace(whole, `"schema": 1`, `"schema": 7, "more": {}`, 1), "schema 7"},
		{"unknown field", strings.Replace(whole, `"schema": 1`, `"schema": 1, "speed": 3`, 1), "unknown field"},
		{"unknown field of a sample", strings.Replace(whole, `{"scenario":`, `{"mode":"x","scenario":`, 1), "unknown field"},
		{"a number out of range", strings.Replace(whole, `"value":452`, `"value":1e999`, 1), "1e999"},
		{"not a number", strings.Replace(whole, `"value":452`, `"value":NaN`, 1), "invalid character"},
		{"cut", whole[:len(whole)/2], "unexpected end"},
		{"something behind it", whole + "{}", "after top-level value"},
		{"empty", "", "unexpected end"},
		{"too large", strings.Repeat(" ", MaxFile+1), "not a result"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.text == whole {
				t.Fatal("nothing was spoilt")
			}
			_, err := decode(strings.NewReader(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("decode: %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// TestAdd keeps what cannot be kept from spoiling a run.
func TestAdd(t *testing.T) {
	r := made()
	samples, faults := len(r.Samples), len(r.Faults)
	r.Add(Sample{"login-imaps", "usher", "rate", "/s", Higher, 0, math.Inf(1)})
	r.AddFault(Fault{Scenario: "login-imaps", Target: "usher", Text: "\x00\xfe" + strings.Repeat("ö", maxText)})
	if len(r.Samples) != samples || len(r.Faults) != faults+2 {
		t.Errorf("%d samples and %d faults, want %d and %d", len(r.Samples), len(r.Faults), samples, faults+2)
	}
	r.Targets[0].Version = "\x1b[1musher"
	var b bytes.Buffer
	if err := r.encode(&b); err != nil {
		t.Error(err)
	}
	if _, err := decode(&b); err != nil {
		t.Error(err)
	}
}

// FuzzRead holds the reader to its law: what it takes can be written, read again
// and reported, and is the same then.
func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	small := made()
	small.Samples, small.Series = small.Samples[:3], small.Series[:1]
	if err := small.encode(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`{"schema":1,"started":"2026-11-30T08:00:00Z","elapsed_ns":1,"machine":{},"targets":null,"samples":null}`))
	f.Add([]byte(`{"schema":1,"targets":[{"name":"usher"}],"samples":[{"scenario":"soak","target":"usher","metric":"m","unit":"","better":"lower","repetition":0,"value":1e308}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := decode(bytes.NewReader(text))
		if err != nil {
			return
		}
		var once, twice, page bytes.Buffer
		if err := r.encode(&once); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := decode(bytes.NewReader(once.Bytes()))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, once.Bytes())
		}
		if err := again.encode(&twice); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(once.Bytes(), twice.Bytes()) {
			t.Errorf("written\n%s\nthen\n%s", once.Bytes(), twice.Bytes())
		}
		if err := Markdown(&page, r); err != nil {
			t.Error(err)
		}
		r.Plots()
		Compare(r, again, Filter{})
	})
}
