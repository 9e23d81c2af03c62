package certstore

import "testing"

// TestLockOf finds the lock that a key of a certificate is written under.
func TestLockOf(t *testing.T) {
	s := New(nil)
	for _, lock := range []string{"issue_cert_a.example.com", "issue_cert_*.example.com", "storage_clean"} {
		s.note(lock)
	}
	for key, want := range map[string]string{
		"certificates/ca/a.example.com/a.example.com.key":                     "issue_cert_a.example.com",
		"rsa/certificates/ca/wildcard_.example.com/wildcard_.example.com.crt": "issue_cert_*.example.com",
		"certificates/ca/a.example.com":                                       "issue_cert_a.example.com",
		"certificates/ca/b.example.com/b.example.com.key":                     "",
		"acme/ca/challenge_tokens/a.example.com.json":                         "",
		"certificates/ca": "",
	} {
		if got := s.lockOf(key); got != want {
			t.Errorf("%s is written under %q, want %q", key, got, want)
		}
	}
}
