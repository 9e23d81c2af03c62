package record_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"usher.example/balancer/record"
)

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// The application traffic of RFC 8448 §3, a whole session: TLS 1.3 with
// AES-128-GCM.
const (
	clientSecret = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"
	serverSecret = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"

	serverTicket = `17030300de 3a6b8f90414a97d6959c3487680de5134a2b240e6cffac116e95d41d6af8f6b580dcf3d11d63c758db289a
		015940252f55713e061dc13e078891a38efbcf5753ad8ef170ad3c7353d16d9da773b9ca7f2b9fa1b6c0d4a3d03f75e0
		9c30ba1e62972ac46f75f7b981be63439b2999ce1306461513 9891d5e4c5b406f16e3fc181a77ca475840025db2f0a77
		f81b5ab05b94c01346755f69232c86519d86cbeeac87aac347d143f9605d64f650db4d023e70e952ca49fe5137121c74
		bc2697687e248746d6df353005f3bce18696129c8153556b3b6c6779b37bf15985684f`
	clientData = `1703030043 a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b
		62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4`
	serverData = `1703030043 2e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb501a59a8
		fcc49c4bf2e5f0a21c0047c2abf332540dd032e167c2955d`
	clientClose = `1703030013 c9872760655666b74d7ff1153efd6db6d0b0e3`
	serverClose = `1703030013 b58fd67166ebf599d24720cfbe7efa7a8864a9`
)

// counting is the data that both sides send in RFC 8448 §3: 00 01 02 … 31.
func counting() []byte {
	b := make([]byte, 50)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func TestDeriveRFC8448(t *testing.T) {
	for _, tt := range []struct{ name, secret, key, iv string }{
		{"client", clientSecret, "17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9"},
		{"server", serverSecret, "9f02283b6c9c07efc26bb9f2ac92e356", "cf782b88dd83549aadf1e984"},
	} {
		k, err := record.DeriveTLS13(record.AES128GCM, unhex(t, tt.secret))
		if err != nil {
			t.Fatal(err)
		}
		key, iv := record.KeyIV(&k)
		if !bytes.Equal(key, unhex(t, tt.key)) || !bytes.Equal(iv, unhex(t, tt.iv)) {
			t.Errorf("%s: key %x iv %x, want %s %s", tt.name, key, iv, tt.key, tt.iv)
		}
	}
	// Another label, another size: the server's "finished" key of §3, of the
	// server's handshake secret.
	got, err := record.ExpandLabel(record.AES128GCM,
		unhex(t, "b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38"), "finished", 32)
	want := unhex(t, "008d3b66f816ea559f96b537e885c31fc068bf492c652f01f288a1d8cdc19fc8")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("finished key %x, %v, want %x", got, err, want)
	}
}

func TestSealRFC8448(t *testing.T) {
	for _, tt := range []struct {
		name, secret string
		seq          uint64
		data, closed string
	}{
		{"client", clientSecret, 0, clientData, clientClose},
		{"server", serverSecret, 1, serverData, serverClose}, // record 0 was the ticket
	} {
		k, err := record.DeriveTLS13(record.AES128GCM, unhex(t, tt.secret))
		if err != nil {
			t.Fatal(err)
		}
		k.SetSeq(tt.seq)
		w := record.NewWriter(k)
		a := aead(t, &k)
		got, err := w.Append(nil, a, counting())
		if err != nil || !bytes.Equal(got, unhex(t, tt.data)) {
			t.Errorf("%s data: %x, %v", tt.name, got, err)
		}
		got, err = w.AppendAlert(nil, a, record.CloseNotify)
		if err != nil || !bytes.Equal(got, unhex(t, tt.closed)) {
			t.Errorf("%s close_notify: %x, %v", tt.name, got, err)
		}
	}
}

func TestOpenRFC8448(t *testing.T) {
	for _, tt := range []struct {
		name, secret string
		role         record.Role
		stream       string
		want         []record.Kind
	}{
		{"client's", clientSecret, record.Server, clientData + clientClose, []record.Kind{record.Closed}},
		{"server's", serverSecret, record.Client, serverTicket + serverData + serverClose, []record.Kind{record.Ticket, record.Closed}},
	} {
		k, err := record.DeriveTLS13(record.AES128GCM, unhex(t, tt.secret))
		if err != nil {
			t.Fatal(err)
		}
		f := feed{r: record.NewReader(k, tt.role)}
		if err := f.push(t, unhex(t, tt.stream)); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if !bytes.Equal(f.got, counting()) {
			t.Errorf("%s data: %x", tt.name, f.got)
		}
		for i, kind := range tt.want {
			if len(f.seen) != len(tt.want) || f.seen[i].Kind != kind {
				t.Errorf("%s: saw %v, want kinds %v", tt.name, f.seen, tt.want)
				break
			}
		}
	}
}
