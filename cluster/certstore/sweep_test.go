package certstore_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"usher.example/cluster"
)

// TestSweep: certmagic takes away expired certificates from a fleet's table, which has
// more room then.
func TestSweep(t *testing.T) {
	n := open(t, cluster.FleetOptions{KickDelay: -1})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	full := n.Room()
	for name, end := range map[string]time.Time{"old": time.Now().Add(-2 * time.Hour), "new": time.Now().Add(time.Hour)} {
		c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.Add(-time.Hour), NotAfter: end}
		der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{".crt", ".key", ".json"} {
			if err := n.Store.Store(t.Context(), "certificates/ca/"+name+"/"+name+part, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := n.Room()
	err = certmagic.CleanStorage(t.Context(), n.Store, certmagic.CleanStorageOptions{Logger: zap.NewNop(), ExpiredCerts: true, ExpiredCertGracePeriod: time.Hour, Interval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := n.List(t.Context(), "certificates/ca", true)
	if want := []string{"certificates/ca/new", "certificates/ca/new/new.crt", "certificates/ca/new/new.json", "certificates/ca/new/new.key"}; err != nil || !slices.Equal(keys, want) {
		t.Errorf("left are %q, %v", keys, err)
	}
	if after := n.Room(); before >= full || after <= before {
		t.Errorf("room for %d octets, before the sweep %d, at first %d", after, before, full)
	}
}
