package cluster

import (
	"errors"
	"os"
	"testing"
	"time"
)

// TestPortClosesWhatCameIn holds that a node that has ended hangs up on the others,
// whoever had the connection.
func TestPortClosesWhatCameIn(t *testing.T) {
	id, err := newIdentity("a", []Secret{NewSecret()})
	if err != nil {
		t.Fatal(err)
	}
	p, err := openPort("127.0.0.1:0", "", id, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	l := p.layer(p.raft)
	c, err := p.dialWithin(p.advertise.String(), protoRaft, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := l.Accept(); err != nil {
		t.Fatal(err)
	}
	p.close()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d octets, %v; want that the connection is closed", n, err)
	}
}
