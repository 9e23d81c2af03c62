package record

import "crypto/fips140"

// Usable reports whether this package may carry sessions in this process. It
// may not when Go runs in FIPS 140-3 mode: AES-GCM with nonces that the caller
// chose is then no approved service (GODEBUG=fips140=on) or refused altogether
// (fips140=only), and only crypto/tls has a way around. The answer never changes
// while the process runs; a caller that gets false uses crypto/tls.
func Usable() bool { return !fips140.Enabled() }
