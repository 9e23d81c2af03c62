package imap_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"usher.example/sniff"
	"usher.example/sniff/imap"
	"usher.example/sniff/snifftest"
)

// seeds adds the peer's part of the transcripts, as it stands: good enough to
// begin with.
func seeds(f *testing.F, pattern string) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		f.Fatalf("no transcripts match %s (%v)", pattern, err)
	}
	for i, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		peer, _, _ := strings.Cut(string(text), "\n----\n")
		var said []string
		for line := range strings.SplitSeq(peer, "\n") {
			if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "!") {
				said = append(said, strings.TrimSuffix(line, `\c`))
			}
		}
		f.Add([]byte(strings.Join(said, "\r\n")+"\r\n"), uint64(i))
	}
}

// FuzzFront: however a client's bytes are cut, the answers are the same.
func FuzzFront(f *testing.F) {
	seeds(f, "testdata/front-*.txt")
	snifftest.FuzzCuts(f, func() sniff.Conversation {
		o := frontOptions()
		o.TLS, o.StartTLS, o.Plaintext, o.Peer = false, true, true, "joe"
		return imap.Protocol{}.Front(o)
	})
}

// FuzzBack: however a back end's bytes are cut, the answers are the same. This
// one takes the longest way: STARTTLS, capabilities, ID, a relayed exchange.
func FuzzBack(f *testing.F) {
	seeds(f, "testdata/back-*.txt")
	snifftest.FuzzCuts(f, func() sniff.Conversation {
		return imap.Protocol{}.Back(sniff.BackOptions{
			StartTLS: true,
			Login: &sniff.Login{
				Mechanism: sniff.ScramSHA256, User: "joe", AuthID: "joe", Initial: sniff.Secret("n,,n=joe,r=abc"),
				Before: sniff.Before{ID: []sniff.Field{{Key: "name", Value: "client"}}},
			},
		})
	})
}

// FuzzBackProbe: the same for a probe that logs in with literals.
func FuzzBackProbe(f *testing.F) {
	seeds(f, "testdata/back-*.txt")
	snifftest.FuzzCuts(f, func() sniff.Conversation {
		return imap.Protocol{}.Back(sniff.BackOptions{
			Probe: sniff.ProbeLogin,
			Login: &sniff.Login{Mechanism: sniff.Command, User: "jö", AuthID: "jö", Password: sniff.Secret("sécret")},
		})
	})
}
