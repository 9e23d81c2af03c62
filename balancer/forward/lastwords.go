package forward

import "golang.org/x/sys/unix"

// withFIN gives a socket last words in such a way that they go in one segment with
// the FIN that follows at once. It returns what is left to be sent in the ordinary way:
// all of it, if anything is in front of it.
func (l *loop) withFIN(h *half, words []byte) []byte {
	if h.out != none || l.owes(h) {
		return words
	}
	n, err := retry(func() (int, error) {
		return unix.SendmsgN(int(h.fd), words, nil, nil, unix.MSG_MORE|unix.MSG_NOSIGNAL)
	})
	if err != nil { // the ordinary way will meet it again, and knows what to do
		return words
	}
	return words[n:]
}
