package dovecot

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// mailUser owns all mail when the tests run as root: Dovecot serves nobody's
// mail as root. Not as root, mail belongs to whoever runs the tests.
const mailUser = "nobody"

// A Storage holds users' mail, one Maildir each. Its methods may be called from
// several goroutines.
type Storage struct {
	dir      string
	uid, gid int
	serial   atomic.Uint64 // makes the names of messages unique
}

// NewStorage makes an empty storage that ends with the test. Only servers that
// share one need to call it.
func NewStorage(t testing.TB) *Storage {
	t.Helper()
	st := &Storage{dir: makeDir(t), uid: os.Getuid(), gid: os.Getgid()}
	if st.uid == 0 {
		owner, err := user.Lookup(mailUser)
		if err != nil {
			t.Fatal(err)
		}
		st.uid, err = strconv.Atoi(owner.Uid)
		if err != nil {
			t.Fatalf("user id of %s: %v", mailUser, err)
		}
		st.gid, err = strconv.Atoi(owner.Gid)
		if err != nil {
			t.Fatalf("group id of %s: %v", mailUser, err)
		}
	}
	if err := os.Chown(st.dir, st.uid, st.gid); err != nil {
		t.Fatal(err)
	}
	return st
}

// Deliver puts a message into a user's mailbox, making the mailbox if need be,
// as a delivery agent would: written aside, then moved in, so that a session in
// IDLE wakes. Lines may end in LF or CRLF. An empty mailbox name means INBOX.
func (st *Storage) Deliver(t testing.TB, user, mailbox string, message []byte) {
	t.Helper()
	if err := st.deliver(user, mailbox, message); err != nil {
		t.Fatalf("deliver to %q: %v", user, err)
	}
}

func (st *Storage) deliver(user, mailbox string, message []byte) error {
	maildir := st.maildir(user, mailbox)
	if err := st.mkdirs(maildir, "tmp", "new", "cur"); err != nil {
		return err
	}
	name := fmt.Sprintf("%d.%d_%d.usher", time.Now().Unix(), os.Getpid(), st.serial.Add(1))
	aside := filepath.Join(maildir, "tmp", name)
	message = bytes.ReplaceAll(message, []byte("\r\n"), []byte("\n"))
	if err := os.WriteFile(aside, message, 0o600); err != nil {
		return err
	}
	if err := os.Chown(aside, st.uid, st.gid); err != nil {
		return err
	}
	return os.Rename(aside, filepath.Join(maildir, "new", name))
}

// Messages counts the messages in a user's mailbox; a mailbox that does not
// exist has none. An empty mailbox name means INBOX.
func (st *Storage) Messages(t testing.TB, user, mailbox string) int {
	t.Helper()
	n := 0
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(st.maildir(user, mailbox), sub))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("count messages of %q: %v", user, err)
		}
		n += len(entries)
	}
	return n
}

// Dir is the folder that holds the users' homes, each named for its user.
func (st *Storage) Dir() string { return st.dir }

// UID is the user id of the mail's owner.
func (st *Storage) UID() int { return st.uid }

// GID is the group of the mail's owner.
func (st *Storage) GID() int { return st.gid }

// maildir is where Dovecot's Maildir++ layout has a mailbox. Dovecot makes user
// names lower-case before it looks for their homes.
func (st *Storage) maildir(user, mailbox string) string {
	root := filepath.Join(st.dir, strings.ToLower(user), "Maildir")
	if mailbox == "" || strings.EqualFold(mailbox, "INBOX") {
		return root
	}
	return filepath.Join(root, "."+mailbox)
}

// mkdirs makes subs of a folder of this storage, giving every folder on the way
// to the mail's owner.
func (st *Storage) mkdirs(dir string, subs ...string) error {
	rel, err := filepath.Rel(st.dir, dir)
	if err != nil {
		return err
	}
	if !filepath.IsLocal(rel) {
		return fmt.Errorf("%q is no name for a mailbox", rel)
	}
	path := st.dir
	for part := range strings.SplitSeq(rel, string(filepath.Separator)) {
		path = filepath.Join(path, part)
		if err := st.mkdir(path); err != nil {
			return err
		}
	}
	for _, sub := range subs {
		if err := st.mkdir(filepath.Join(path, sub)); err != nil {
			return err
		}
	}
	return nil
}

// mkdir is content with a folder that is there: Dovecot, or another delivery,
// may be making the same one.
func (st *Storage) mkdir(path string) error {
	switch err := os.Mkdir(path, 0o700); {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return err
	}
	return os.Chown(path, st.uid, st.gid)
}
