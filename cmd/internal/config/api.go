package config

// API is the [admin.api] table.
type API struct {
	// Address of the admin API over TCP, always with TLS. Empty: none, and the API is on
	// the socket only.
	Address string `toml:"address" default:"" form:"listen" example:"192.0.2.1:9181" reload:"no"`

	// Its certificate, with the chain, PEM. A new file is taken up within seconds, and at
	// SIGHUP.
	CertFile string `toml:"cert_file" default:"" form:"path" example:"/etc/usher/api.pem"`

	// The key to it, PEM, in a file that others on the host cannot read.
	KeyFile string `toml:"key_file" default:"" form:"path" example:"/etc/usher/api.key"`

	// CAs, PEM, by whose certificates clients say who they are. Give a CA of your own that
	// is for nothing else. Empty: no client is asked for a certificate. SIGHUP reads it
	// again. Without token_file nobody finishes a handshake who has none.
	ClientCAFile string `toml:"client_ca_file" default:"" form:"path" example:"/etc/usher/api-clients.pem"`

	// Tokens, in a file that others on the host cannot read: "usher admin token" makes
	// them, and has a hash of each written to it. SIGHUP reads it again. Empty: none.
	TokenFile string `toml:"token_file" default:"" form:"path" example:"/etc/usher/api.tokens"`

	// Client certificates of the role operate, by their subject: "CN=ann", "OU=mail",
	// "O=Example", a common name alone, or "*" for every one. That role may see users and
	// give orders; private keys stay with the socket.
	Operators []string `toml:"operators" default:"[]" form:"word" example:"[\"ann\", \"OU=mail\"]"`

	// Those of the role read, which names no user and gives no order. Empty: all others of
	// client_ca_file.
	Readers []string `toml:"readers" default:"[]" form:"word" example:"[\"O=Example\"]"`
}
