package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"usher.example/cmd/internal/dovecot"
)

// syncMessages is how many messages a mailbox has that is synchronised.
const syncMessages = 1000

// countMail counts the messages of a Maildir.
func countMail(t testing.TB, maildir string) int {
	t.Helper()
	n := 0
	for _, sub := range []string{"cur", "new"} {
		entries, err := os.ReadDir(filepath.Join(maildir, sub))
		if err != nil {
			t.Fatal(err)
		}
		n += len(entries)
	}
	return n
}

// TestSync has two programs that keep a local copy of a mailbox fetch, and one
// store, a thousand messages. They pipeline, use literals and care for every
// line.
func TestSync(t *testing.T) {
	t.Parallel()
	require(t, "mbsync", "offlineimap")
	one, two := pair(t, dovecot.Options{})
	s := newSite(t, "shared", one, two)
	s.serve()
	for i := range syncMessages {
		one.Deliver(t, "joe", "", fmt.Appendf(nil, "Message-ID: <%d@example.org>\nSubject: message %d\nFrom: a@example.org\n\nbody %d\n", i, i, i))
	}
	local := t.TempDir()

	t.Run("mbsync", func(t *testing.T) {
		rc := func(user, door string, port int, ssl string) string {
			path := filepath.Join(t.TempDir(), "mbsyncrc")
			text := fmt.Sprintf(`IMAPStore far
Host %s
Port %d
User %s
Pass secret
SSLType %s
CertificateFile %s

MaildirStore near
Path %s/
Inbox %s/%s
SubFolders Verbatim

Channel %s
Far :far:
Near :near:
Patterns INBOX
Create Both
Sync All
SyncState *
`, s.host, port, user, ssl, s.file("cert.pem"), local, local, "INBOX", door)
			s.put(path, text)
			return path
		}
		run(t, "", "mbsync", "-q", "-c", rc("joe", "imaps", portIMAPS, "IMAPS"), "imaps")
		if got := countMail(t, filepath.Join(local, "INBOX")); got != syncMessages {
			t.Fatalf("mbsync fetched %d messages, want %d", got, syncMessages)
		}
		// As if they were new here: mbsync stores them all for another user.
		for _, name := range []string{".mbsyncstate", ".uidvalidity"} {
			if err := os.Remove(filepath.Join(local, "INBOX", name)); err != nil {
				t.Fatal(err)
			}
		}
		run(t, "", "mbsync", "-q", "-c", rc("ann", "starttls", portIMAP, "STARTTLS"), "starttls")
		if got := one.Messages(t, "ann", ""); got != syncMessages {
			t.Errorf("mbsync stored %d messages, want %d", got, syncMessages)
		}
	})

	t.Run("offlineimap", func(t *testing.T) {
		dir := t.TempDir()
		rc := filepath.Join(dir, "offlineimaprc")
		s.put(rc, fmt.Sprintf(`[general]
metadata = %s/meta
accounts = joe
ui = quiet
[Account joe]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = %s/mail
[Repository far]
type = IMAP
remotehost = %s
remoteport = %d
remoteuser = joe
remotepass = secret
ssl = yes
sslcacertfile = %s
folderfilter = lambda name: name == 'INBOX'
`, dir, dir, s.host, portIMAPS, s.authority.File))
		run(t, "", "offlineimap", "-o", "-c", rc)
		if got := countMail(t, filepath.Join(dir, "mail", "INBOX")); got != syncMessages {
			t.Errorf("offlineimap fetched %d messages, want %d", got, syncMessages)
		}
	})
}
