package snifftest

import (
	"math/rand/v2"
	"testing"

	"usher.example/sniff"
)

// FuzzCuts holds the first law of a conversation: it does not care how the
// network cut its input. The caller has added seeds that begin conversations
// of the kind that open makes. Reactions are made up: TLS starts without
// trouble, logins are refused, or challenged if relayed, and challenges are
// answered.
func FuzzCuts(f *testing.F, open func() sniff.Conversation) {
	f.Fuzz(func(t *testing.T, input []byte, seed uint64) {
		if len(input) > 2*sniff.MaxInput {
			t.Skip("longer than what a Driver hands over")
		}
		rng := rand.New(rand.NewPCG(seed, 1))
		whole := play(open(), improvise(input), func(left int) int { return left })
		parts := play(open(), improvise(input), func(left int) int { return 1 + rng.IntN(min(left, 1+rng.IntN(64))) })
		if whole != parts {
			t.Errorf("input %q\nwhole:\n%s\nin parts:\n%s", input, whole, parts)
		}
	})
}

// maxReactions bounds a fuzzed dialogue.
const maxReactions = 64

// improvise makes pieces: all input first, then reactions as they are needed.
func improvise(input []byte) []piece {
	pieces := []piece{{input: string(input)}}
	pieces[0].react = react(0)
	for i := 1; i < maxReactions; i++ {
		pieces = append(pieces, piece{react: react(i)})
	}
	return pieces
}

func react(i int) reaction {
	return func(c sniff.Conversation, last sniff.Event, dst []byte) ([]byte, error) {
		switch c := c.(type) {
		case sniff.Front:
			return reactFront(c, last, i, dst), nil
		case sniff.Back:
			if last.Kind == sniff.StartTLS {
				c.Secured()
				return dst, nil
			}
			return c.Respond(dst, []byte("response")), nil
		}
		return dst, errSide
	}
}

// reactFront refuses password logins and challenges relayed ones twice out of
// three times. What it does depends on the event and the count of reactions
// only, so that two ways of cutting see the same.
func reactFront(c sniff.Front, last sniff.Event, i int, dst []byte) []byte {
	switch {
	case last.Kind == sniff.StartTLS:
		c.Secured("peer@example.org")
		return dst
	case last.Kind == sniff.LoggingIn && !last.Login.Mechanism.Relayed(), i%3 == 2:
		return c.Refuse(dst, sniff.Refusal{Code: sniff.AuthFailed})
	}
	return c.Challenge(dst, []byte("challenge"))
}
