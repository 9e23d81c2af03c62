package config

import (
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
)

// A Secret is a password from a file. It does not print itself; who has to send
// it converts it to a string.
type Secret string

const redacted = "[redacted]"

// String hides the secret from %s and %v.
func (Secret) String() string { return redacted }

// GoString hides it from %#v.
func (Secret) GoString() string { return redacted }

// LogValue hides it from log/slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides it from encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// maxSecret bounds a password in bytes. A literal before login may be longer,
// but no server takes a password of that size.
const maxSecret = 1024

// maxPEM bounds a file of certificates: the system's bundle of all CAs has a
// quarter of it.
const maxPEM = 1 << 20

// ReadSecret reads a master or test password: the one line of a file that
// others on the host cannot read. Its errors say nothing of the content.
func ReadSecret(path string) (Secret, error) {
	data, err := readFile(path, maxSecret+len("\r\n"), true)
	if err != nil {
		return "", err
	}
	line := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	switch {
	case line == "":
		return "", fmt.Errorf("%s is empty, want a password on one line", path)
	case len(line) > maxSecret:
		return "", fmt.Errorf("%s has more than %d bytes", path, maxSecret)
	case strings.ContainsAny(line, "\r\n\x00"):
		return "", fmt.Errorf("%s has several lines, want a password on one", path)
	}
	return Secret(line), nil
}

// ReadPrivate reads a small file that others on the host cannot read, whatever is in
// it.
func ReadPrivate(path string) ([]byte, error) { return readFile(path, maxSecret, true) }

// readFile reads a file of at most limit bytes. A private one must not be
// readable by others.
func readFile(path string, limit int, private bool) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s is a directory, want a file", path)
	}
	if private {
		if err := checkMode(path, info.Mode()); err != nil {
			return nil, err
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if len(data) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return data, nil
}

// checkMode refuses a secret that everybody on the host knows. Its group may:
// that is how ssl-cert and the like share keys.
func checkMode(path string, mode fs.FileMode) error {
	const others = 0o006 // read, write
	if mode.Perm()&others != 0 {
		return fmt.Errorf("%s has mode %04o, so others can read it: chmod o= %s", path, mode.Perm(), path)
	}
	return nil
}
