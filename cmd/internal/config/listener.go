package config

import "net/netip"

// Listener is one [[listener]].
type Listener struct {
	// Name in logs and metrics.
	Name string `toml:"name" required:"yes" form:"name" example:"imaps"`

	// Address and port. Without an address (":993") it is every address of the
	// host, IPv4 and IPv6.
	Address string `toml:"address" required:"yes" form:"listen" example:":993"`

	// What is spoken here.
	Protocol Protocol `toml:"protocol" required:"yes" example:"imap"`

	// When TLS begins: "implicit" at once (ports 993 and 995), "starttls" when
	// the client asks for it (ports 143 and 110), "none" never.
	TLS TLSMode `toml:"tls" default:"implicit"`

	// Oldest TLS version that is taken from clients. Below 1.2 it is for
	// devices that cannot be updated, and warned of.
	TLSMin TLSVersion `toml:"tls_min" default:"1.2"`

	// Certificates of this listener in place of the [[certificate]] tables.
	Certificates []Certificate `toml:"certificates" example:"[{ cert_file = \"/etc/usher/mail.pem\", key_file = \"/etc/usher/mail.key\" }, { cert_dir = \"/etc/usher/certs\" }, { names = [\"imap.example.org\"], on_demand = [], on_demand_file = \"\" }, { imported = true }]"`

	// CAs of client certificates, PEM. Who shows one of theirs may log in with
	// EXTERNAL, as the first mail address in it, or else its common name; the
	// pool needs a master user for that.
	ClientCAFile string `toml:"client_ca_file" default:"" form:"path" example:"/etc/usher/clients.pem"`

	// Everybody may log in without TLS, so passwords cross the network in
	// clear. Otherwise logins before TLS are refused.
	PlaintextLogin bool `toml:"plaintext_login" default:"false"`

	// Networks whose clients may log in without TLS.
	PlaintextNetworks []netip.Prefix `toml:"plaintext_networks" default:"[]" example:"[\"127.0.0.0/8\", \"::1\"]"`

	// Balancers in front of us, addresses or networks. They must begin with a
	// PROXY header, version 1 or 2, which names the client; from everybody
	// else such a header ends the connection. If version 2 says that the client
	// came to the balancer by TLS, he may log in here without.
	ProxyNetworks []netip.Prefix `toml:"proxy_networks" default:"[]" example:"[\"192.0.2.10\"]"`

	// Webmail hosts and other proxies whose word about the client is believed:
	// IMAP ID x-originating-*, POP3 XCLIENT. From everybody else it is dropped.
	TrustedNetworks []netip.Prefix `toml:"trusted_networks" default:"[]" example:"[\"192.0.2.20/32\", \"2001:db8::/64\"]"`

	// Mechanisms offered, at most. The commands LOGIN (IMAP), USER and PASS
	// (POP3) go with PLAIN or LOGIN. Empty: all that usher and every back end of
	// the pool can do.
	Mechanisms []Mechanism `toml:"mechanisms" default:"[]" example:"[\"PLAIN\", \"OAUTHBEARER\"]"`

	// Sessions of this listener. 0: only the limit of all.
	Sessions int `toml:"sessions" default:"0" range:"0.."`

	// Pool that serves the users who come in here. May be left out where there
	// is only one.
	Pool string `toml:"pool" default:"" form:"name" example:"main"`
}
