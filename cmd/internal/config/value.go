package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	modeType     = reflect.TypeFor[fs.FileMode]()
)

// isText reports whether the file writes a t as a quoted text.
func isText(t reflect.Type) bool {
	return t == durationType || t == prefixType || t == modeType || t.Kind() == reflect.String
}

// want says what the value of f, or an element of it, may be.
func (f field) want() string {
	t := f.typ
	if f.shape() == values {
		t = t.Elem()
	}
	if e, ok := reflect.Zero(t).Interface().(enum); ok {
		return "one of " + quoted(e.Allowed())
	}
	switch {
	case t == durationType:
		return `a duration such as "30s" or "1h30m"`
	case t == prefixType:
		return `a network or an address, such as "192.0.2.0/24" or "2001:db8::1"`
	case t == modeType:
		return `an octal mode such as "0660"`
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int:
		return "a whole number"
	}
	if fm, ok := forms[f.tag.Get("form")]; ok {
		return fm.want
	}
	return "a text"
}

// set puts raw, a value as the TOML library decodes it, into v, which is of f's
// type or its element. Nothing is set if there is an error, which completes
// "drain: ".
func (f field) set(v reflect.Value, raw any) error {
	switch raw := raw.(type) {
	case string:
		if isText(v.Type()) {
			return f.setText(v, raw)
		}
	case bool:
		if v.Kind() == reflect.Bool {
			v.SetBool(raw)
			return nil
		}
	case int64:
		if v.Kind() == reflect.Int {
			if v.OverflowInt(raw) {
				return f.outside(raw)
			}
			return f.setChecked(v, reflect.ValueOf(int(raw)))
		}
	}
	return fmt.Errorf("want %s, got %s", f.want(), describe(raw))
}

// setText is set for what is written as text, and for the tags.
func (f field) setText(v reflect.Value, s string) error {
	if e, ok := reflect.Zero(v.Type()).Interface().(enum); ok {
		if slices.Contains(e.Allowed(), s) {
			v.SetString(s)
			return nil
		}
		return fmt.Errorf("want %s, got %s%s", f.want(), describe(s), suggestion(s, e.Allowed()))
	}
	if v.Kind() == reflect.String {
		if fm, ok := forms[f.tag.Get("form")]; ok && (s != "" || f.required()) && !fm.check(s) {
			return fmt.Errorf("want %s, got %s", fm.want, describe(s))
		}
		v.SetString(s)
		return nil
	}
	parsed, err := parseText(v.Type(), s)
	if errors.As(err, new(maskError)) {
		return err
	}
	if err != nil {
		return fmt.Errorf("want %s, got %s", f.want(), describe(s))
	}
	return f.setChecked(v, parsed)
}

// parseText reads the types that are not texts themselves.
func parseText(t reflect.Type, s string) (v reflect.Value, err error) {
	var x any
	switch {
	case t == durationType:
		x, err = time.ParseDuration(s)
	case t == prefixType:
		x, err = parsePrefix(s)
	case t == modeType:
		var n uint64
		n, err = strconv.ParseUint(s, 8, 32)
		if n&^uint64(fs.ModePerm) != 0 {
			err = strconv.ErrRange
		}
		x = fs.FileMode(n)
	case t.Kind() == reflect.Bool:
		x, err = strconv.ParseBool(s)
	case t.Kind() == reflect.Int:
		x, err = strconv.Atoi(s)
	default:
		err = fmt.Errorf("type %s is not written as text", t)
	}
	return reflect.ValueOf(x), err
}

// setChecked sets x if it is in f's range.
func (f field) setChecked(v, x reflect.Value) error {
	if v.CanInt() {
		low, high := f.bounds()
		for _, b := range []struct {
			text string
			sign int64
		}{{low, 1}, {high, -1}} {
			if b.text == "" {
				continue
			}
			bound, err := parseText(v.Type(), b.text)
			if err != nil {
				return fmt.Errorf("range of %s: %w", f.key, err)
			}
			if (x.Int() < bound.Int()) == (b.sign > 0) && x.Int() != bound.Int() {
				return f.outside(x.Interface())
			}
		}
	}
	v.Set(x)
	return nil
}

func (f field) outside(x any) error {
	msg := fmt.Sprintf("%v is out of range, allowed is %s", x, f.rangeText())
	if why := f.tag.Get("because"); why != "" {
		msg += ": " + why
	}
	return errors.New(msg)
}

// rangeText is the range in words, or nothing.
func (f field) rangeText() string {
	low, high := f.bounds()
	switch {
	case low != "" && high != "":
		return low + " to " + high
	case low != "":
		return low + " or more"
	case high != "":
		return "up to " + high
	default:
		return ""
	}
}

// A maskError is a network whose address says more than its mask.
type maskError struct {
	written string
	network netip.Prefix
}

func (e maskError) Error() string {
	return fmt.Sprintf("%q has bits beyond its mask; did you mean %q, or the address without the mask?", e.written, e.network)
}

// parsePrefix reads a network or a single address. Addresses of IPv4 in IPv6
// become those of IPv4, as clients' addresses do before they are compared.
func parsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("parse address: %w", err)
		}
		a = a.Unmap()
		if a.Zone() != "" {
			return netip.Prefix{}, errors.New("an address with a zone is no network")
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("parse network: %w", err)
	}
	if p != p.Masked() {
		return netip.Prefix{}, maskError{s, p.Masked()}
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, nil
}

// maxShown bounds how much of a wrong value an error repeats.
const maxShown = 80

// describe names a value of the file in an error.
func describe(raw any) string {
	switch raw := raw.(type) {
	case string:
		if len(raw) > maxShown {
			return fmt.Sprintf("%q…", raw[:maxShown])
		}
		return strconv.Quote(raw)
	case bool:
		return strconv.FormatBool(raw)
	case int64, float64:
		return fmt.Sprintf("the number %v", raw)
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	default:
		return "a date or time"
	}
}
