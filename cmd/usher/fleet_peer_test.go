package main_test

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"
)

// TestFleetStrangers comes to the fleet port in plain text, with a certificate of
// nobody, and as a node with another secret: all are refused, which is logged, and
// nothing changes.
func TestFleetStrangers(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{})
	r.start()
	admin := r.administrator("")
	members := len(admin.Overview().Members)
	target := r.nodes[0]
	address := hostPort(target.peers, portFleet)

	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if text, _ := io.ReadAll(conn); len(text) > 7 { // an alert is what TLS says
		t.Errorf("it answered plain text: %q", text)
	}
	target.p.log.await(t, `level=WARN msg="a connection to the fleet port was refused"`, 1)

	stranger, err := tls.Dial("tcp", address, &tls.Config{
		InsecureSkipVerify: true, NextProtos: []string{"http/1.1"},
		Certificates: []tls.Certificate{target.authority.Client(t, "edge-2")},
	})
	if err == nil { // a client hears of its refusal with the first octets only
		_, err = stranger.Read(make([]byte, 1))
		stranger.Close()
	}
	if err == nil {
		t.Error("a certificate of nobody was taken")
	}

	wrong := r.add("edge-2")
	secret := wrong.file("wrong")
	newSecret(t, secret)
	right := r.secret
	r.secret = secret
	wrong.head = "drain = \"20s\"\n" + r.fleetTable(wrong)
	r.secret = right
	wrong.begin()
	wrong.p.log.await(t, "the node starts without its fleet", 1)
	if status, text := wrong.p.ask("/readyz?verbose"); status == 200 {
		t.Errorf("a node with another secret is ready: %s", text)
	}
	o := admin.Overview()
	if len(o.Members) != members {
		t.Errorf("%d members, want %d: %+v", len(o.Members), members, o.Members)
	}
	for _, m := range o.Members {
		if m.Address == hostPort(wrong.peers, portFleet) {
			t.Errorf("the node with another secret is a member: %+v", m)
		}
	}
	if refused := target.p.log.lines(`a connection to the fleet port was refused`); len(refused) != 1 {
		t.Errorf("%d lines about strangers within a minute, want one", len(refused))
	}
	for _, e := range r.nodes[:3] {
		if ok, verdict := e.tries("joe"); !ok {
			t.Errorf("%s: %s", e.name, verdict)
		}
	}
	r.checkPresence(3)
}
