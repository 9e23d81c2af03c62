package admin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"usher.example/balancer/admin"
)

// streamTime bounds how long a test follows a stream: the patience of a busy machine, no
// figure.
const streamTime = 30 * time.Second

// streamed follows a path of h until what was seen is enough, and returns that.
func streamed(t *testing.T, h http.Handler, target string, enough func(seen string) bool) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), streamTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, open(t, h)+target, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != "text/event-stream" {
		t.Fatalf("%s: got %s of type %s", target, resp.Status, kind)
	}
	var seen strings.Builder
	for in := bufio.NewReader(resp.Body); !enough(seen.String()); {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v after %q", target, err, seen.String())
		}
		seen.WriteString(line)
	}
	return seen.String()
}

// frames are the data of server-sent events, with their names.
func frames(text string) (list [][2]string) {
	for part := range strings.SplitSeq(text, "\n\n") {
		var name, data string
		for line := range strings.SplitSeq(part, "\n") {
			if v, ok := strings.CutPrefix(line, "event: "); ok {
				name = v
			}
			if v, ok := strings.CutPrefix(line, "data: "); ok {
				data = v
			}
		}
		if data != "" {
			list = append(list, [2]string{name, data})
		}
	}
	return list
}

// TestDocumentHasEveryFrame holds the streams to the document, and asks each path that
// it says has one.
func TestDocumentHasEveryFrame(t *testing.T) {
	d := openDocument(t)
	n := newNode(t)
	events := admin.NewEvents()
	log := slog.New(events.Handler(slog.DiscardHandler))
	s := admin.New(admin.Options{Node: n.balancer, Places: n.places, Fleet: n.places, Keeper: dated{}, Events: events, EventPeers: silent{}, Log: log})
	log.Warn("back end is down", "event", "backend_down", "pool", "main", "backend", "mail1", "after", time.Second, "tries", 3, "first", true)
	enough := map[string]func([][2]string) bool{
		admin.BoardPath: func(f [][2]string) bool { return len(f) > 0 },
		admin.EventsPath: func(f [][2]string) bool {
			return slices.ContainsFunc(f, func(f [2]string) bool { return f[0] == "" }) && slices.ContainsFunc(f, func(f [2]string) bool { return f[0] == "missing" })
		},
	}
	for path, say := range spoken {
		if !say.stream {
			continue
		}
		kinds := d.Paths[path]["get"].Responses["200"].Content["text/event-stream"].Stream
		text := streamed(t, s.Handler(), path+say.query, func(seen string) bool {
			whole := seen[:strings.LastIndex(seen, "\n\n")+1]
			return enough[path] != nil && enough[path](frames(whole))
		})
		for _, f := range frames(text) {
			if kinds[f[0]] == nil {
				t.Errorf("%s: the document knows no event %q", path, f[0])
				continue
			}
			at := "#/paths/" + strings.ReplaceAll(path, "/", "~1") + "/get/responses/200/content/text~1event-stream/x-usher-stream/" + f[0]
			audience.Lock()
			err := validate(d, at, []byte(f[1]))
			audience.Unlock()
			if err != nil {
				t.Errorf("%s: event %q is not as the document says: %v: %s", path, f[0], err, f[1])
			}
		}
	}
}

// silent is a fleet whose other node does not answer.
type silent struct{ one }

func (silent) Events(json.RawMessage, func(string, json.RawMessage)) error {
	return fmt.Errorf("node edge-2: dead")
}
