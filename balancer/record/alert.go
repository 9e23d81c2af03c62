package record

import "fmt"

// An Alert is an alert's description on the wire (RFC 8446 §6).
type Alert uint8

// Alerts that this package sends or treats apart from the others.
const (
	CloseNotify       Alert = 0
	UnexpectedMessage Alert = 10
	BadRecordMAC      Alert = 20
	RecordOverflow    Alert = 22
	IllegalParameter  Alert = 47
	DecodeError       Alert = 50
	ProtocolVersion   Alert = 70
	InternalError     Alert = 80
	UserCanceled      Alert = 90
	NoRenegotiation   Alert = 100
)

// Levels of alerts. TLS 1.3 sends them and does not read them (RFC 8446 §6).
const (
	levelWarning byte = 1
	levelFatal   byte = 2
)

// String returns the alert's name in the RFC, or its number.
func (a Alert) String() string {
	switch a {
	case CloseNotify:
		return "close_notify"
	case UnexpectedMessage:
		return "unexpected_message"
	case BadRecordMAC:
		return "bad_record_mac"
	case RecordOverflow:
		return "record_overflow"
	case IllegalParameter:
		return "illegal_parameter"
	case DecodeError:
		return "decode_error"
	case ProtocolVersion:
		return "protocol_version"
	case InternalError:
		return "internal_error"
	case UserCanceled:
		return "user_canceled"
	case NoRenegotiation:
		return "no_renegotiation"
	default:
		return fmt.Sprintf("alert %d", uint8(a))
	}
}

// Message returns the alert as the body of a record of type [TypeAlert].
func (a Alert) Message() [2]byte {
	switch a {
	case CloseNotify, UserCanceled, NoRenegotiation:
		return [2]byte{levelWarning, byte(a)}
	default:
		return [2]byte{levelFatal, byte(a)}
	}
}

// A Class is what kind of failure ended a direction, for counting.
type Class uint8

// Classes of failure.
const (
	Forged     Class = iota // not authentic: tampered with, or out of order
	Malformed               // authentic or not, against the format
	Unexpected              // well-formed, but not now or not from this peer
	Flood                   // too much that carries no data
	Peer                    // the peer sent a fatal alert
	Exhausted               // no sequence number is left
)

var classNames = [...]string{"forged", "malformed", "unexpected", "flood", "peer", "exhausted"}

// String returns the class's name as logs and metrics show it.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "unknown"
}

// Classes lists every Class in order.
func Classes() []Class {
	all := make([]Class, len(classNames))
	for i := range all {
		all[i] = Class(i)
	}
	return all
}

// An AlertError is a failure that ends the session.
type AlertError struct {
	// Alert is the alert to send, or for [Peer] the one that was received: then
	// there is nothing to send.
	Alert Alert
	Class Class
}

// Error says the same for all records that could not be decrypted.
func (e *AlertError) Error() string {
	if e.Class == Peer {
		return "record: peer sent " + e.Alert.String()
	}
	return "record: " + e.Class.String() + ": " + e.Alert.String()
}
