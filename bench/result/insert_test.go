package result

import (
	"slices"
	"strings"
	"testing"
)

func TestInsert(t *testing.T) {
	r := made()
	page := "# Speed\n\nWhat is what.\n\n<!-- bench:begin losses -->\nold\n<!-- bench:end losses -->\nBetween.\n" +
		"<!-- bench:begin storm run=first pictures=plots -->\n<!-- bench:end storm -->\n" +
		"<!-- bench:begin machine run=other -->\nof another\n<!-- bench:end machine --> tail\nlast line"
	got, err := Insert(page, r, "first", true)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "page.md", []byte(got))
	if dirs := PictureDirs(got, "first", true); !slices.Equal(dirs, []string{"plots"}) {
		t.Errorf("pictures are looked for in %q, want them in plots", dirs)
	}
	older, err := Insert(page, r, "other", false)
	if err != nil {
		t.Fatal(err)
	}
	if want := page[:strings.Index(page, "of another")]; !strings.HasPrefix(older, want) || strings.Contains(older, "of another") {
		t.Errorf("of an older run only the part that names it is to be renewed:\n%s", older)
	}
	again, err := Insert(got, r, "first", true)
	if err != nil {
		t.Fatal(err)
	}
	if again != got {
		t.Errorf("inserted twice\n%s\nonce\n%s", again, got)
	}
}

func TestInsertRefuses(t *testing.T) {
	for _, tt := range []struct{ name, page, want string }{
		{"no part", "# Speed\n", "no part of this run"},
		{"only another run's", "<!-- bench:begin losses run=x -->\n<!-- bench:end losses -->\n", "no part of this run"},
		{"no end", "\n<!-- bench:begin losses -->\n", "line 2: part losses has no end"},
		{"end of another", "<!-- bench:begin losses -->\n<!-- bench:end faults -->\n", "no end"},
		{"end beyond another part", "<!-- bench:begin losses -->\n<!-- bench:begin faults -->\n<!-- bench:end faults -->\n<!-- bench:end losses -->\n", "no end"},
		{"no begin", "<!-- bench:end losses -->\n", "did not begin"},
		{"no name", "<!-- bench:begin  -->\n", "begins no part"},
		{"unknown word", "<!-- bench:begin losses of=x -->\n<!-- bench:end losses -->\n", "of=x"},
		{"unknown part", "a\n<!-- bench:begin wins -->\n<!-- bench:end wins -->\n", "line 2: the run has no part \"wins\""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Insert(tt.page, made(), "first", true)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Insert: %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// FuzzInsert holds it to its law: what it has written it leaves as it is.
func FuzzInsert(f *testing.F) {
	f.Add("a\n<!-- bench:begin losses -->\nx\n<!-- bench:end losses -->\nb")
	f.Add("<!-- bench:begin losses run=first pictures=. -->\n<!-- bench:end losses --><!-- bench:end losses -->")
	f.Add("<!-- bench:begin losses -->")
	r := made()
	f.Fuzz(func(t *testing.T, page string) {
		once, err := Insert(page, r, "first", true)
		if err != nil {
			return
		}
		twice, err := Insert(once, r, "first", true)
		if err != nil || once != twice {
			t.Errorf("%q became %q, then %q: %v", page, once, twice, err)
		}
	})
}
