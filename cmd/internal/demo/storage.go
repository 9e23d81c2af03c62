package demo

import (
	"fmt"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
)

// inbox is the mailbox that every user has (RFC 9051 §5.1).
const inbox = "INBOX"

// A storage has the mail of all users. Every back end opens the same one: this
// is what storage = "shared" means, and why any of them may serve a user.
type storage map[string]*imapmemserver.User

// newStorage makes an account for each user, who are written in lower case.
func newStorage(users []string, password string) (storage, error) {
	mail := make(storage)
	for _, name := range users {
		u := imapmemserver.NewUser(name, password)
		if err := u.Create(inbox, &imap.CreateOptions{}); err != nil {
			return nil, fmt.Errorf("make the mailbox of %s: %w", name, err)
		}
		mail[name] = u
	}
	return mail, nil
}

// login finds the user, whose name may be written in any case.
func (s storage) login(name, password string) (*imapmemserver.User, error) {
	name = strings.ToLower(name)
	u := s[name]
	if u == nil {
		return nil, imapserver.ErrAuthFailed
	}
	if err := u.Login(name, password); err != nil {
		return nil, err
	}
	return u, nil
}

// deliver puts a mail into a user's INBOX. Text is the header without Date, and
// the body, with LF as the end of lines.
func deliver(u *imapmemserver.User, text string) error {
	text = "Date: " + time.Now().Format(time.RFC1123Z) + "\n" + text
	r := literal{strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n"))}
	if _, err := u.Append(inbox, r, &imap.AppendOptions{}); err != nil {
		return fmt.Errorf("deliver a mail: %w", err)
	}
	return nil
}

// A literal is what go-imap reads mail from.
type literal struct{ *strings.Reader }

var _ imap.LiteralReader = literal{}
