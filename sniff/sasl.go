package sniff

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Errors of SASL. Their texts are ours; nothing of the client's goes in.
var (
	// ErrBase64: not strict base64 (RFC 4648 §4: right padding, no white space).
	ErrBase64 = errors.New("malformed base64")
	// ErrSASL: a message breaks its mechanism's syntax.
	ErrSASL = errors.New("malformed SASL message")
	// ErrMechanism: a mechanism that is unknown or not offered.
	ErrMechanism = errors.New("mechanism not offered")
)

// MaxSASL bounds a decoded SASL message, in octets. OAuth tokens and Kerberos
// tickets reach 12 to 16 KiB; RFC 4954 §4 asks for lines of 12,288.
const MaxSASL = 16 << 10

// MaxSASLLine bounds a line that holds one, base64 being 4 for 3, with room
// for a tag, a command and a mechanism's name before an initial response.
const MaxSASLLine = (MaxSASL+2)/3*4 + 512

// strict refuses non-zero trailing bits as well, so that decoding and encoding
// gives the input back: one message, one spelling.
var strict = base64.StdEncoding.Strict()

// DecodeBase64 decodes one SASL message as it stands on a line (RFC 4648 §4).
// Go's decoder skips CR and LF; we do not (Dovecot CVE-2026-33603 is about tabs).
func DecodeBase64(line []byte) ([]byte, error) {
	if bytes.ContainsAny(line, "\r\n") {
		return nil, ErrBase64
	}
	if base64.StdEncoding.DecodedLen(len(line)) > MaxSASL+2 {
		return nil, fmt.Errorf("%w: longer than %d octets", ErrSASL, MaxSASL)
	}
	out := make([]byte, strict.DecodedLen(len(line)))
	n, err := strict.Decode(out, line)
	if err != nil {
		clear(out)
		return nil, ErrBase64
	}
	return out[:n], nil
}

// AppendBase64 appends data in base64.
func AppendBase64(dst, data []byte) []byte { return strict.AppendEncode(dst, data) }

// An Exchange is the client-first part of a SASL exchange, as the server that
// wants to know who is there. It is pure; the lines, base64, "=" and "*" around
// the messages are the protocol's.
type Exchange struct {
	mech Mechanism
	peer string // user of the client certificate, for External
	user string // LOGIN: the answer to the first prompt
	step int
}

// NewExchange starts an exchange; peer is the user named by a verified client
// certificate, or empty.
func NewExchange(m Mechanism, peer string) (*Exchange, error) {
	switch m {
	case Plain, LoginSASL, XOAuth2, OAuthBearer, ScramSHA1, ScramSHA256, External:
		return &Exchange{mech: m, peer: peer}, nil
	case Command:
	}
	return nil, ErrMechanism
}

// Challenge returns what the server asks first when the client gave no initial
// response: nothing, but for LOGIN.
func (x *Exchange) Challenge() []byte {
	if x.mech == LoginSASL {
		return []byte("Username:")
	}
	return nil
}

// Respond takes the client's next message, decoded. It gives either a login or
// the next challenge.
func (x *Exchange) Respond(msg []byte) (login *Login, challenge []byte, err error) {
	switch x.mech {
	case LoginSASL:
		if x.step == 0 {
			x.step, x.user = 1, string(msg)
			return nil, []byte("Password:"), nil
		}
		login = &Login{AuthID: x.user, User: x.user, Password: Secret(bytes.Clone(msg))}
	case Plain:
		login, err = parsePlain(msg)
	case XOAuth2:
		login, err = parseXOAuth2(msg)
	case OAuthBearer:
		login, err = parseOAuthBearer(msg)
	case ScramSHA1, ScramSHA256:
		login, err = parseScram(msg)
	case External:
		login, err = parseExternal(msg, x.peer)
	case Command:
		err = ErrMechanism
	}
	if err != nil {
		return nil, nil, err
	}
	login.Mechanism = x.mech
	if x.mech.Relayed() {
		login.Initial = Secret(bytes.Clone(msg))
	}
	return login, nil, login.Check()
}

// Check holds the names and the password of a login against the rules that no
// mechanism may get around.
func (l *Login) Check() error {
	if err := CheckUser(l.User); err != nil {
		return err
	}
	if err := CheckUser(l.AuthID); err != nil {
		return err
	}
	if len(l.Password) > MaxPassword {
		return fmt.Errorf("%w: password longer than %d octets", ErrSASL, MaxPassword)
	}
	if bytes.IndexByte(l.Password, 0) >= 0 {
		return fmt.Errorf("%w: NUL in the password", ErrSASL)
	}
	return nil
}

// parsePlain reads authzid NUL authcid NUL password (RFC 4616 §2).
func parsePlain(msg []byte) (*Login, error) {
	parts := bytes.Split(msg, []byte{0})
	if len(parts) != 3 {
		return nil, ErrSASL
	}
	l := &Login{AuthzID: string(parts[0]), AuthID: string(parts[1]), Password: Secret(bytes.Clone(parts[2]))}
	l.User = l.AuthID
	if l.AuthzID != "" {
		l.User = l.AuthzID
	}
	return l, nil
}

// parseXOAuth2 reads user=NAME ^A auth=Bearer TOKEN ^A ^A.
func parseXOAuth2(msg []byte) (*Login, error) {
	fields, ok := bytes.CutSuffix(msg, []byte("\x01\x01"))
	if !ok {
		return nil, ErrSASL
	}
	l := new(Login)
	bearer := false
	for f := range bytes.SplitSeq(fields, []byte{1}) {
		key, value, ok := bytes.Cut(f, []byte("="))
		switch {
		case !ok:
			return nil, ErrSASL
		case string(key) == "user" && l.AuthID == "":
			l.AuthID = string(value)
		case string(key) == "auth" && !bearer:
			bearer = true
		default: // a second user= would be read differently by another parser
			if string(key) == "user" || string(key) == "auth" {
				return nil, ErrSASL
			}
		}
	}
	if !bearer {
		return nil, ErrSASL
	}
	l.User = l.AuthID
	return l, nil
}

// parseOAuthBearer reads n,a=NAME, ^A key=value ^A … ^A (RFC 7628 §3.1).
// Without a= the identity is inside the token, which we cannot route by.
func parseOAuthBearer(msg []byte) (*Login, error) {
	header, rest, ok := bytes.Cut(msg, []byte{1})
	if !ok {
		return nil, ErrSASL
	}
	authz, after, err := parseGS2(header)
	if err != nil || len(after) > 0 {
		return nil, ErrSASL
	}
	if authz == "" {
		return nil, fmt.Errorf("%w: no a= to route by", ErrSASL)
	}
	if !bytes.HasSuffix(rest, []byte("\x01\x01")) {
		return nil, ErrSASL
	}
	auth := 0
	for f := range bytes.SplitSeq(bytes.TrimSuffix(rest, []byte("\x01\x01")), []byte{1}) {
		key, _, ok := bytes.Cut(f, []byte("="))
		if !ok {
			return nil, ErrSASL
		}
		if string(key) == "auth" {
			auth++
		}
	}
	if auth != 1 {
		return nil, ErrSASL
	}
	return &Login{User: authz, AuthID: authz, AuthzID: authz}, nil
}

// parseScram reads a client-first message: gs2-header [m=…] n=NAME,r=NONCE
// (RFC 5802 §7). Channel binding cannot pass a proxy that terminates TLS.
func parseScram(msg []byte) (*Login, error) {
	authz, bare, err := parseGS2(msg)
	if err != nil {
		return nil, err
	}
	name, rest, ok := bytes.Cut(bare, []byte(","))
	if !ok || !bytes.HasPrefix(name, []byte("n=")) || !bytes.HasPrefix(rest, []byte("r=")) || len(rest) < len("r=")+1 {
		return nil, ErrSASL
	}
	user, err := unescapeSaslname(string(name[2:]))
	if err != nil {
		return nil, err
	}
	l := &Login{User: user, AuthID: user, AuthzID: authz}
	if authz != "" {
		l.User = authz
	}
	return l, nil
}

// parseGS2 reads gs2-cbind-flag "," [a=saslname] "," (RFC 5801 §4). The flag
// may be n or y, never p.
func parseGS2(msg []byte) (authz string, rest []byte, err error) {
	flag, rest, ok := bytes.Cut(msg, []byte(","))
	if !ok || (string(flag) != "n" && string(flag) != "y") {
		return "", nil, ErrSASL
	}
	a, rest, ok := bytes.Cut(rest, []byte(","))
	if !ok {
		return "", nil, ErrSASL
	}
	if len(a) == 0 {
		return "", rest, nil
	}
	name, ok := bytes.CutPrefix(a, []byte("a="))
	if !ok || len(name) == 0 {
		return "", nil, ErrSASL
	}
	authz, err = unescapeSaslname(string(name))
	return authz, rest, err
}

// unescapeSaslname decodes =2C and =3D; any other = is an error (RFC 5802 §5.1).
func unescapeSaslname(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", ErrSASL
	}
	if !strings.Contains(s, "=") {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '=':
			b.WriteByte(s[i])
			continue
		case strings.HasPrefix(s[i:], "=2C"):
			b.WriteByte(',')
		case strings.HasPrefix(s[i:], "=3D"):
			b.WriteByte('=')
		default:
			return "", ErrSASL
		}
		i += 2
	}
	return b.String(), nil
}

// parseExternal takes the identity from the certificate; the message may only
// repeat it (RFC 4422 Appendix A; Dovecot CVE-2019-3814: no name, no login).
func parseExternal(msg []byte, peer string) (*Login, error) {
	if peer == "" {
		return nil, ErrMechanism
	}
	if len(msg) > 0 && string(msg) != peer {
		return nil, fmt.Errorf("%w: not the certificate's name", ErrUser)
	}
	return &Login{User: peer, AuthID: peer, AuthzID: string(msg)}, nil
}

// ChannelBindingHint tells whether a SCRAM client-first message says that its
// client could have bound the channel but saw no -PLUS (flag y). A back end
// that does offer -PLUS must refuse it (RFC 5802 §6), so it is not worth a try.
func ChannelBindingHint(initial Secret) bool { return bytes.HasPrefix(initial, []byte("y,")) }
