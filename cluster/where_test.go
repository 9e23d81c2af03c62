package cluster

import (
	"encoding/json"
	"testing"

	"usher.example/cluster/place"
)

func TestWhere(t *testing.T) {
	s := alone(t, FleetOptions{Names: place.Names{LowerCase: true}}, mainPool(place.Shared, 2))
	user := s.userOf(t, "store1")
	p := mainPool(place.Shared, 2)
	p.Pins = Pins{user: "store2"}
	s.update(t, p)
	explain := func() string {
		t.Helper()
		w, err := s.f.Where("main", user)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	head := `{"pool":"main","user":"` + user + `",`
	if got, want := explain(), head+`"pin":"store2","pin_by_file":true,"home":"store1","holds":0,"place":"store2","why":"pin"}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	s.login(t, user)
	if got, want := explain(), head+`"pin":"store2","pin_by_file":true,"home":"store1","stay":"store2","holds":1,"place":"store2","why":"pin"}`; got != want {
		t.Errorf("live: got  %s\nwant %s", got, want)
	}
	s.health(t, "store2", false)
	if got, want := explain(), head+`"pin":"store2","pin_by_file":true,"home":"store1","holds":0,"place":"store1","why":"home"}`; got != want {
		t.Errorf("down: got  %s\nwant %s", got, want)
	}
	text, err := json.Marshal(s.f.Status())
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"name":"main","storage":"shared","usable":1,"backends":[` +
		`{"name":"store1","weight":100,"admin":"active","up":true,"state":"up","users":0,"holds":0},` +
		`{"name":"store2","weight":100,"admin":"active","up":false,"state":"down","users":0,"holds":0}]}]`
	if string(text) != want {
		t.Errorf("status:\ngot  %s\nwant %s", text, want)
	}
}
