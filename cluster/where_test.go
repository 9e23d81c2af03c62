package cluster

import (
	"encoding/json"
	"testing"

	"usher.example/cluster/place"
)

func TestWhere(t *testing.T) {
	s := newSingle(t, Options{Names: place.Names{LowerCase: true}}, mainPool(place.Shared, 2))
	home := userOf(t, s, "store1")
	if err := s.SetPins("main", Pins{home: "store2"}); err != nil {
		t.Fatal(err)
	}
	explain := func() string {
		t.Helper()
		w, err := s.Where("main", home)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	head := `{"pool":"main","user":"` + home + `",`
	if got, want := explain(), head+`"pin":"store2","home":"store1","holds":0,"place":"store2","why":"pin"}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	_, _, release := login(t, s, home)
	defer release()
	if got, want := explain(), head+`"pin":"store2","home":"store1","stay":"store2","holds":1,"place":"store2","why":"stay"}`; got != want {
		t.Errorf("live: got  %s\nwant %s", got, want)
	}
	s.SetHealth("main", "store2", false)
	if got, want := explain(), head+`"pin":"store2","home":"store1","stay":"store2","holds":1,"place":"store1","why":"home","error":"user is being moved: 1 sessions on store2 have to end first"}`; got != want {
		t.Errorf("down: got  %s\nwant %s", got, want)
	}
	s.SetHealth("main", "store1", false)
	if got, want := explain(), head+`"pin":"store2","stay":"store2","holds":1,"error":"pool main: no usable back end: store1 (health), store2 (health)"}`; got != want {
		t.Errorf("all down: got  %s\nwant %s", got, want)
	}
	text, err := json.Marshal(s.Status())
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"name":"main","storage":"shared","usable":0,"backends":[` +
		`{"name":"store1","weight":100,"admin":"active","up":false,"state":"down","users":0,"holds":0},` +
		`{"name":"store2","weight":100,"admin":"active","up":false,"state":"down","users":1,"holds":1}]}]`
	if string(text) != want {
		t.Errorf("status:\ngot  %s\nwant %s", text, want)
	}
}
