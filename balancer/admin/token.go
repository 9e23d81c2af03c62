package admin

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	// tokenPrefix lets those who search for leaked secrets find ours.
	tokenPrefix = "usher_"
	// tokenOctets of chance are in a token: that many nobody guesses, so a fast hash
	// keeps it as well as a slow one would.
	tokenOctets = 32
	// hashPrefix names the hash, so that there can be another one.
	hashPrefix = "sha256:"
	// maxTokens bounds the work of a comparison: all are compared each time.
	maxTokens = 1000
	// maxTokenFile bounds the file: a line has 64 octets of name and 90 others, and
	// there may be comments.
	maxTokenFile = 256 << 10
	// maxCaller bounds the name of a caller in octets; it is in every line of the log
	// about him.
	maxCaller = 64
)

// A token is a line of the file: who may come, and the hash of what he says.
type token struct {
	name string
	role Role
	hash [sha256.Size]byte
}

// Tokens are those of a file. The zero value has none.
type Tokens struct{ list []token }

// Len is how many there are.
func (t Tokens) Len() int { return len(t.list) }

// NewToken makes a token, and the line of the file that lets it in. The token is shown
// once; the line does not lead back to it.
func NewToken(name string, role Role) (text, line string, err error) {
	if !callerName(name) {
		return "", "", errCallerName
	}
	if _, err := ParseRole(string(role)); err != nil {
		return "", "", err
	}
	chance := make([]byte, tokenOctets)
	if _, err := rand.Read(chance); err != nil {
		return "", "", err
	}
	text = tokenPrefix + base64.RawURLEncoding.EncodeToString(chance)
	hash := sha256.Sum256([]byte(text))
	return text, fmt.Sprintf("%s %s %s%s", name, role, hashPrefix, hex.EncodeToString(hash[:])), nil
}

var errCallerName = fmt.Errorf("a caller's name has 1 to %d letters, digits, \".\", \"-\", \"_\" and \"@\"", maxCaller)

// callerName tells whether name can be a caller's.
func callerName(name string) bool {
	return name != "" && len(name) <= maxCaller && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_@") == ""
}

// ParseTokens reads a file: on each line a name, a role and a hash, with spaces between;
// empty lines and those that begin with "#" do not count. One name may have several
// tokens, so that they can be exchanged, but one role. The error names the line, and
// nothing of what is in it but the role.
func ParseTokens(text []byte) (Tokens, error) {
	var t Tokens
	if len(text) > maxTokenFile {
		return t, fmt.Errorf("more than %d octets", maxTokenFile)
	}
	has := make(map[string]Role)
	seen := make(map[[sha256.Size]byte]bool)
	n := 0
	for line := range bytes.Lines(text) {
		n++
		words := strings.Fields(string(line))
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		k, err := parseToken(words)
		switch {
		case err != nil:
		case has[k.name] != "" && has[k.name] != k.role:
			err = errors.New("the name has another role above: give it one role, or take another name")
		case seen[k.hash]:
			err = errors.New("the same token is there above: every caller needs his own")
		case len(t.list) == maxTokens:
			err = fmt.Errorf("more than %d tokens", maxTokens)
		}
		if err != nil {
			return Tokens{}, fmt.Errorf("line %d: %w", n, err)
		}
		has[k.name], seen[k.hash] = k.role, true
		t.list = append(t.list, k)
	}
	return t, nil
}

func parseToken(words []string) (k token, err error) {
	if len(words) != 3 {
		return k, errors.New("want a name, a role and a hash: usher admin token writes such lines")
	}
	if !callerName(words[0]) {
		return k, errCallerName
	}
	if k.role, err = ParseRole(words[1]); err != nil {
		return k, err
	}
	text, ok := strings.CutPrefix(words[2], hashPrefix)
	hash, err := hex.DecodeString(text)
	if !ok || err != nil || len(hash) != len(k.hash) {
		return k, fmt.Errorf("the hash is none: want %s and %d hexadecimal digits, not the token", hashPrefix, 2*len(k.hash))
	}
	k.name = words[0]
	copy(k.hash[:], hash)
	return k, nil
}

// ReadTokens reads a file that nobody but its owner and group can read or write.
func ReadTokens(path string) (Tokens, error) {
	text, err := readGuarded(path, maxTokenFile)
	if err != nil {
		return Tokens{}, err
	}
	t, err := ParseTokens(text)
	if err != nil {
		return Tokens{}, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// readGuarded reads a file of at most limit octets that others on the host can neither
// read nor write, nor its group write.
func readGuarded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	const others = 0o026
	switch {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file", path)
	case info.Mode().Perm()&others != 0:
		return nil, fmt.Errorf("%s has mode %04o, so others can read or change it: chmod 0640 %s, or 0600", path, info.Mode().Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("%s has more than %d octets", path, limit)
	}
	return text, nil
}

// equal compares in a time that does not depend on what is compared. A variable, so that
// a test can count.
var equal = subtle.ConstantTimeCompare

// find returns whose token that is. What is compared are hashes, all of them each time,
// so that the time of an answer says nothing of what is in the file.
func (t Tokens) find(text string) (Caller, bool) {
	hash := sha256.Sum256([]byte(text))
	at := -1
	for i := range t.list {
		at = subtle.ConstantTimeSelect(equal(hash[:], t.list[i].hash[:]), i, at)
	}
	// Who made his own with a bad password in mind would undo that nobody guesses.
	if at < 0 || len(text) != len(tokenPrefix)+base64.RawURLEncoding.EncodedLen(tokenOctets) || !strings.HasPrefix(text, tokenPrefix) {
		return Caller{}, false
	}
	return Caller{t.list[at].name, t.list[at].role, viaToken}, true
}
