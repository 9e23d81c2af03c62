package sniff

import (
	"bytes"
	"slices"
)

// IsProxyHeader tells whether a client's first line is a PROXY header of version
// 1 (HAProxy's specification, §2.1). A Front gets to see one only from a peer
// that is not listed as a proxy: to IMAP it would be a tag with an unknown
// command, and the proxy's clients would go on as if they were one. Version 2
// breaks the rules of lines by itself.
func IsProxyHeader(line []byte) bool {
	words := bytes.Fields(line)
	return bytes.HasPrefix(line, []byte("PROXY ")) && len(words) > 1 &&
		slices.Contains([]string{"TCP4", "TCP6", "UNKNOWN"}, string(words[1]))
}
