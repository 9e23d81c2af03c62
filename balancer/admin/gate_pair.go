package admin

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

const (
	// pairEvery is how often a certificate's files are looked at, at most: two calls of
	// stat at a handshake.
	pairEvery = 5 * time.Second
	// maxPair bounds a certificate with its chain, and a key, in octets.
	maxPair = 256 << 10
)

// A pairFile is a certificate and its key, in two files that may change at any time.
type pairFile struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex // guards what follows
	pair   *tls.Certificate
	looked time.Time
	seen   [2]fileMark
}

// A fileMark is what a file looked like from outside.
type fileMark struct {
	changed time.Time
	size    int64
}

// openPair reads both.
func openPair(certFile, keyFile string, log *slog.Logger) (*pairFile, error) {
	p := &pairFile{certFile: certFile, keyFile: keyFile, log: log, looked: time.Now()}
	p.seen = p.mark()
	var err error
	if p.pair, err = p.read(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *pairFile) read() (*tls.Certificate, error) {
	crt, err := readFile(p.certFile, maxPair)
	if err != nil {
		return nil, err
	}
	key, err := readGuarded(p.keyFile, maxPair)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(crt, key)
	if err != nil {
		return nil, fmt.Errorf("%s with %s: %w", p.certFile, p.keyFile, err)
	}
	return &pair, nil
}

// mark looks at both from outside. A file that is not there has no mark.
func (p *pairFile) mark() (m [2]fileMark) {
	for i, name := range []string{p.certFile, p.keyFile} {
		if info, err := os.Stat(name); err == nil {
			m[i] = fileMark{info.ModTime(), info.Size()}
		}
	}
	return m
}

// get returns the certificate, read again if the files have changed. As long as they are
// not good, such as while only one of them is there, it is the one of before.
func (p *pairFile) get() (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.looked) < pairEvery {
		return p.pair, nil
	}
	p.looked = time.Now()
	now := p.mark()
	if now == p.seen {
		return p.pair, nil
	}
	p.seen = now
	pair, err := p.read()
	if err != nil {
		p.log.Warn("the API's new certificate is not good; the one before stays", "event", "api_certificate_bad", "cert_file", p.certFile, "err", err)
		return p.pair, nil
	}
	p.pair = pair
	p.log.Info("the API has taken up a new certificate", "event", "api_certificate_loaded", "cert_file", p.certFile, "not_after", pair.Leaf.NotAfter)
	return p.pair, nil
}

// readFile reads a file of at most limit octets.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("%s has more than %d octets", path, limit)
	}
	return text, nil
}
