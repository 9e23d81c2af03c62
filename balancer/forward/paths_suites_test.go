package forward_test

import (
	"crypto/tls"
	"testing"

	"usher.example/balancer/record"
)

// sizes are lengths of data that may be somebody's edge: a record holds 16384.
var sizes = []int{1, 15, 1000, 16383, 16384, 16385, 40_000}

// Every suite of both versions, full and resumed, on either side and on both.
func TestPathSuites(t *testing.T) {
	each(t, func(t *testing.T, p *path) {
		for _, version := range []uint16{record.TLS13, record.TLS12} {
			for _, suite := range record.Suites(version) {
				for _, l := range layouts {
					t.Run(tls.CipherSuiteName(uint16(suite))+"/"+l.name, func(t *testing.T) {
						st := newStage(t, p, scene{version: version, suite: suite})
						for _, resumed := range []bool{false, true} {
							s := st.open(t, setup{layout: l, resumed: resumed, greeting: "* OK\r\n"})
							for i, n := range sizes {
								s.exchange(pattern(n, 1), pattern(sizes[len(sizes)-1-i], 2))
							}
							s.finish()
						}
					})
				}
			}
		}
	})
}

func TestPathGroups(t *testing.T) {
	each(t, func(t *testing.T, p *path) {
		for _, g := range []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256} {
			for _, l := range layouts {
				t.Run(g.String()+"/"+l.name, func(t *testing.T) {
					st := newStage(t, p, scene{group: g})
					s := st.open(t, setup{layout: l})
					s.exchange(pattern(3000, 1), pattern(20_000, 2))
					s.finish()
				})
			}
		}
	})
}

// Bulk in both directions at once, and what was pending at the hand-over before
// it; the account holds all of it.
func TestPathBulk(t *testing.T) {
	each(t, func(t *testing.T, p *path) {
		for _, version := range []uint16{record.TLS13, record.TLS12} {
			for _, l := range layouts {
				t.Run(tls.VersionName(version)+"/"+l.name, func(t *testing.T) {
					up, down := pattern(bulk(), 1), pattern(bulk()+12_345, 2)
					const first, second = 700, 17_000 // more than a record
					s := newStage(t, p, scene{version: version}).open(t, setup{
						layout: l, toServer: string(up[:first]), toClient: string(down[:second]),
					})
					s.resume(up, down, first, second)
					s.finish()
					if in, out := s.flow.Bytes(); in != uint64(len(up)) || out != uint64(len(down)+len("* BYE\r\n")) ||
						in != s.res.In || out != s.res.Out {
						t.Errorf("account %+v, Bytes() %d, %d, of %d and %d octets", s.res, in, out, len(up), len(down))
					}
				})
			}
		}
	})
}
