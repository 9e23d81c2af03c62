package main

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestReadMessages(t *testing.T) {
	const stream = "id: a\n\n: is there\n\nid: b\nevent: missing\ndata: [1,\ndata: 2]\n\ndata:x\n\nretry: 3\ndata: cut"
	var got []message
	err := readMessages(strings.NewReader(stream), func(m message) error { got = append(got, m); return nil })
	want := []message{{id: "a"}, {}, {"b", "missing", "[1,\n2]"}, {data: "x"}}
	if !slices.Equal(got, want) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %+v, %v", got, err)
	}
	stop := errors.New("stop")
	if err := readMessages(strings.NewReader(stream), func(message) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

func FuzzReadMessages(f *testing.F) {
	f.Add("id: a\ndata: x\n\n")
	f.Add("data: " + strings.Repeat("x", 100) + "\r\n\r\n:\n\n")
	f.Fuzz(func(t *testing.T, s string) {
		n := 0
		if err := readMessages(strings.NewReader(s), func(m message) error {
			if n += len(m.data) + len(m.kind) + len(m.id); strings.ContainsAny(m.id+m.kind, "\n") {
				t.Errorf("%+v", m)
			}
			return nil
		}); err == nil {
			t.Error("a stream that ends is no error")
		}
		if n > len(s) {
			t.Errorf("%d octets of %d", n, len(s))
		}
	})
}
