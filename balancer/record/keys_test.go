package record_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"usher.example/balancer/record"
)

// TestPointerFree holds what lets a session lie in a slab that the garbage
// collector does not look into, and how large it is.
func TestPointerFree(t *testing.T) {
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Struct:
			for f := range typ.Fields() {
				walk(f.Type)
			}
		case reflect.Array:
			walk(typ.Elem())
		case reflect.Bool, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		default:
			t.Errorf("a %v within", typ)
		}
	}
	walk(reflect.TypeFor[record.Reader]())
	walk(reflect.TypeFor[record.Writer]())
	if n := unsafe.Sizeof(record.Reader{}) + unsafe.Sizeof(record.Writer{}); n > 256 {
		t.Errorf("a session's Reader and Writer are %d bytes, want at most 256", n)
	}
}

func TestKeysCannotBePrinted(t *testing.T) {
	k, err := record.DeriveTLS13(record.AES128GCM, bytes.Repeat([]byte{0xa5}, 32))
	if err != nil {
		t.Fatal(err)
	}
	key, _ := record.KeyIV(&k)
	r, w := record.NewReader(k, record.Server), record.NewWriter(k)
	var out strings.Builder
	text, js := slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil))
	for _, v := range []any{k, &k, r, &r, w, &w, struct{ R record.Reader }{r}, []record.Keys{k}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		text.Info("x", "keys", v)
		js.Info("x", "keys", v)
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	for _, secret := range []string{"a5a5", "165 165", "0xa5", fmt.Sprintf("%x", key[:4]), fmt.Sprint(key[:4])[1:12]} {
		if strings.Contains(strings.ToLower(out.String()), secret) {
			t.Errorf("%q was printed", secret)
		}
	}
}

func TestDeriveRefuses(t *testing.T) {
	if n := len(record.Suites(0x0302)); n != 0 {
		t.Errorf("TLS 1.1 has %d suites", n)
	}
	for _, tt := range []struct {
		suite record.Suite
		n     int
		want  error
	}{
		{record.AES128GCM, 32, nil},
		{record.AES128GCM, 48, record.ErrSecret},
		{record.AES256GCM, 48, nil},
		{record.AES256GCM, 32, record.ErrSecret},
		{record.ChaCha20, 0, record.ErrSecret},
		{0x1304, 32, record.ErrSuite}, // AES-128-CCM
		{0, 0, record.ErrSuite},
		{record.ECDHERSAAES128GCM, 32, record.ErrSuite},
	} {
		if _, err := record.DeriveTLS13(tt.suite, make([]byte, tt.n)); !errors.Is(err, tt.want) {
			t.Errorf("TLS 1.3 %#x with %d bytes: %v, want %v", tt.suite, tt.n, err, tt.want)
		}
	}
	for _, tt := range []struct {
		suite                  record.Suite
		master, client, server int
		want                   error
	}{
		{record.ECDHERSAAES128GCM, 48, 32, 32, nil},
		{record.ECDHERSAAES128GCM, 47, 32, 32, record.ErrSecret},
		{record.ECDHERSAAES128GCM, 48, 31, 32, record.ErrSecret},
		{record.ECDHERSAAES128GCM, 48, 32, 33, record.ErrSecret},
		{0x009c, 48, 32, 32, record.ErrSuite}, // RSA key exchange
		{0xc013, 48, 32, 32, record.ErrSuite}, // CBC
		{record.AES128GCM, 48, 32, 32, record.ErrSuite},
	} {
		_, _, err := record.DeriveTLS12(tt.suite, make([]byte, tt.master), make([]byte, tt.client), make([]byte, tt.server))
		if !errors.Is(err, tt.want) {
			t.Errorf("TLS 1.2 %#x: %v, want %v", tt.suite, err, tt.want)
		}
	}
}

// TestWiped uses what is gone.
func TestWiped(t *testing.T) {
	for _, c := range combos() {
		w, r := pair(t, c, record.Server)
		a := aead(t, &w.Keys)
		w.Wipe()
		r.Wipe()
		if w.Keys != (record.Keys{}) {
			t.Errorf("%v: Wipe left something", c)
		}
		if _, err := w.AEAD(); !errors.Is(err, record.ErrNoKeys) {
			t.Errorf("%v: AEAD: %v", c, err)
		}
		if out, err := w.Append(nil, a, []byte("x")); !errors.Is(err, record.ErrNoKeys) || len(out) > 0 {
			t.Errorf("%v: Append: %v", c, err)
		}
		if err := w.Update(); !errors.Is(err, record.ErrNoKeys) {
			t.Errorf("%v: Update: %v", c, err)
		}
		if _, _, err := r.Next(a, make([]byte, 100)); !errors.Is(err, record.ErrNoKeys) {
			t.Errorf("%v: Next: %v", c, err)
		}
		if b := w.AppendKernel(nil); len(b) > 0 {
			t.Errorf("%v: AppendKernel: %d bytes", c, len(b))
		}
	}
}

// TestAppendKernel lays the bytes beside the structs of linux/tls.h.
func TestAppendKernel(t *testing.T) {
	for _, c := range combos() {
		k := fresh(t, c)
		k.SetSeq(0x0102030405060708)
		key, iv := record.KeyIV(&k)
		seq := []byte{1, 2, 3, 4, 5, 6, 7, 8}
		var number uint16
		var want []byte
		switch len(key) {
		case 16:
			number = 51
		default:
			number = 52
		}
		switch c.suite {
		case record.ChaCha20, record.ECDHEECDSAChaCha20, record.ECDHERSAChaCha20:
			number = 54
			want = bytes.Join([][]byte{iv, key, seq}, nil)
		default:
			nonce := iv[4:]
			if c.version == record.TLS12 {
				nonce = seq
			}
			want = bytes.Join([][]byte{nonce, key, iv[:4], seq}, nil)
		}
		head := binary.NativeEndian.AppendUint16(nil, c.version)
		want = append(binary.NativeEndian.AppendUint16(head, number), want...)
		// sizeof struct tls12_crypto_info_aes_gcm_128, …_256, …_chacha20_poly1305
		if size := map[uint16]int{51: 40, 52: 56, 54: 56}[number]; len(want) != size {
			t.Fatalf("%v: %d bytes wanted, the struct has %d", c, len(want), size)
		}
		if got := k.AppendKernel(nil); !bytes.Equal(got, want) {
			t.Errorf("%v: got %x, want %x", c, got, want)
		}
	}
}

// TestKernelSeals has a session whose records somebody else seals and opens.
func TestKernelSeals(t *testing.T) {
	w, r := pair(t, combo{record.TLS13, record.AES128GCM}, record.Server)
	m := record.KeyUpdateMessage(true)
	ev, err := r.Handle(record.TypeHandshake, m[:])
	if err != nil || ev.Kind != record.Updated || !ev.Answer {
		t.Fatalf("KeyUpdate: %v, %v", ev, err)
	}
	if err := w.Rekey(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(w.AppendKernel(nil), r.AppendKernel(nil)) || w.Updates() != 1 {
		t.Error("the two sides differ after an update")
	}
	for range 3 {
		for range record.MaxMessages - 1 {
			if _, err := r.Handle(record.TypeHandshake, m[:]); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Moved(); err != nil {
			t.Fatal(err)
		}
	}
	cut := record.NewReader(fresh(t, combo{record.TLS13, record.AES128GCM}), record.Server)
	if _, err := cut.Handle(record.TypeHandshake, m[:3]); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it is dead then
		if err := cut.Moved(); refusal(t, err).Alert != record.UnexpectedMessage {
			t.Errorf("data amid a message: %v", err)
		}
	}
	long := record.NewReader(fresh(t, combo{record.TLS13, record.AES128GCM}), record.Server)
	if _, err := long.Handle(record.TypeData, make([]byte, record.MaxPlaintext+1)); refusal(t, err).Alert != record.RecordOverflow {
		t.Errorf("2^14+1 bytes: %v", err)
	}
	c := record.CloseNotify.Message()
	if ev, err := r.Handle(record.TypeAlert, c[:]); err != nil || ev.Kind != record.Closed {
		t.Errorf("close_notify: %v, %v", ev, err)
	}
	w.Close()
	if w.Suite() != 0 {
		t.Error("keys outlive Close")
	}
}

// TestUsable asks in processes of their own, since the mode is set at the start.
func TestUsable(t *testing.T) {
	const ask = "RECORD_TEST_USABLE"
	if os.Getenv(ask) != "" {
		k, err := record.DeriveTLS13(record.AES128GCM, make([]byte, 32))
		if err == nil {
			_, err = k.AEAD()
		}
		fmt.Printf("usable=%v aead=%v\n", record.Usable(), err == nil)
		return
	}
	for mode, want := range map[string]string{
		"off": "usable=true aead=true", "on": "usable=false aead=true", "only": "usable=false aead=false",
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestUsable$")
		cmd.Env = append(os.Environ(), ask+"=1", "GODEBUG=fips140="+mode)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("fips140=%s: %q, %v, want %s", mode, out, err, want)
		}
	}
}

func TestNames(t *testing.T) {
	seen := map[string]bool{"": true, "unknown": true}
	for _, c := range record.Classes() {
		if seen[c.String()] {
			t.Errorf("class %d is called %q", c, c)
		}
		seen[c.String()] = true
	}
	for a, want := range map[record.Alert]string{0: "close_notify", 20: "bad_record_mac", 40: "alert 40"} {
		if a.String() != want {
			t.Errorf("alert %d is called %q, want %q", uint8(a), a, want)
		}
	}
	err := &record.AlertError{Alert: 40, Class: record.Peer}
	if err.Error() != "record: peer sent alert 40" {
		t.Errorf("got %q", err)
	}
}
