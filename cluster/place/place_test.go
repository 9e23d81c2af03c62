package place

import (
	"strings"
	"testing"
)

func TestBase(t *testing.T) {
	up := []Backend{{Name: "a", Weight: 1}, {Name: "b"}} // home is always a
	with := func(a, b State) []Backend {
		return []Backend{{Name: "a", Weight: 1, State: a}, {Name: "b", State: b}}
	}
	for _, tt := range []struct {
		name    string
		storage Storage
		list    []Backend
		pin     string
		want    string
		why     string
		ok      bool
	}{
		{"home", Shared, up, "", "a", ByHome, true},
		{"pin before home, weight or not", Shared, up, "b", "b", ByPin, true},
		{"pin to a back end that is down", Shared, with(Up, Down), "b", "a", ByHome, true},
		{"pin to a back end that drains", Shared, with(Up, Drain), "b", "a", ByHome, true},
		{"pin to nowhere", Shared, up, "c", "a", ByHome, true},
		{"home is down", Shared, with(Down, Up), "", "", ByHome, false},
		{"home drains", Shared, with(Drain, Up), "", "", ByHome, false},

		{"local: home", Local, up, "", "a", ByHome, true},
		{"local: pin", Local, up, "b", "b", ByPin, true},
		{"local: home is down", Local, with(Down, Up), "", "a", ByHome, false},
		{"local: home drains and serves its own", Local, with(Drain, Up), "", "a", ByHome, true},
		{"local: pin is down", Local, with(Up, Down), "b", "b", ByPin, false},
		{"local: pin drains", Local, with(Up, Drain), "b", "b", ByPin, true},
		{"local: pin to nowhere", Local, up, "c", "", ByPin, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, why, ok := Base(view(t, tt.storage, tt.list...), tt.pin, 7)
			if b.Name != tt.want || why != tt.why || ok != tt.ok {
				t.Errorf("got %q, %q, %v, want %q, %q, %v", b.Name, why, ok, tt.want, tt.why, tt.ok)
			}
		})
	}
}

func TestLocalHomeDoesNotMoveWhenItsBackendStops(t *testing.T) {
	list := even(4)
	before := view(t, Local, list...)
	for i := range list {
		list[i].State = Down
	}
	after := view(t, Local, list...)
	for _, k := range users(100) {
		if was, is := homeName(k, before), homeName(k, after); was != is {
			t.Errorf("user %x moved from %s to %s", k, was, is)
		}
	}
}

func TestNewViewReportsEverything(t *testing.T) {
	_, err := NewView(Shared, []Backend{
		{Name: "a", Weight: -1},
		{Name: ""},
		{Name: "b", Weight: MaxWeight + 1},
		{Name: "a"},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"has no name", `"a" appears twice`, "weight -1", "weight 65536"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	if _, err := NewView(Shared, make([]Backend, MaxBackends+1)); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("too many back ends: error %v, want one line", err)
	}
}

func TestViewIsACopy(t *testing.T) {
	list := even(2)
	v := view(t, Shared, list...)
	list[0].Name = "changed"
	if b, ok := v.Find("store1"); !ok || b.Name != "store1" {
		t.Errorf("Find(store1) = %v, %v after the caller changed its list", b, ok)
	}
	if _, ok := v.Find("store3"); ok {
		t.Error("found a back end that is not there")
	}
	if v.Len() != 2 || v.Storage() != Shared {
		t.Errorf("Len %d, Storage %v, want 2, shared", v.Len(), v.Storage())
	}
}

func TestWords(t *testing.T) {
	got := []string{Shared.String(), Local.String(), Storage(9).String(), Up.String(), Drain.String(), Down.String(), State(9).String()}
	want := "shared local storage(9) up drain down state(9)"
	if strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
