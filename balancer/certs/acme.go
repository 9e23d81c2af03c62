package certs

// ACME says how certificates are obtained (RFC 8555).
type ACME struct{}
