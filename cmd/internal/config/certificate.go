package config

// Certificate says where certificates come from, in [[certificate]] or in a
// listener's list: exactly one of its kinds is set (see kinds).
type Certificate struct {
	// Certificate and the chain below it, PEM.
	CertFile string `toml:"cert_file" default:"" form:"path" live:"yes" example:"/etc/usher/mail.pem"`

	// Its private key, PEM, which may be in the same file. Others must not be able
	// to read the file.
	KeyFile string `toml:"key_file" default:"" form:"path" live:"yes" example:"/etc/usher/mail.key"`

	// Or a directory with any number of certificates and keys in it, or in
	// directories in it, such as those of certbot (/etc/letsencrypt/live),
	// acme.sh, lego and dehydrated. What belongs together is told by what is in
	// the files, PEM, whose names end in .pem, .crt, .cer, .cert or .key.
	CertDir string `toml:"cert_dir" default:"" form:"path" example:"/etc/letsencrypt/live"`

	// Or names that are obtained and renewed as [acme] says, each with a certificate
	// of its own. Clients without a name are shown the first.
	Names []string `toml:"names" default:"[]" form:"certname" example:"[\"mail.example.org\", \"imap.example.org\"]"`

	// Names that are obtained when the first client asks for them: that client waits
	// for some seconds. "*.customers.example.org" is every name with one label in
	// place of the star. Strangers can make such names up, so a node obtains at most
	// 60 an hour: better list them.
	OnDemand []string `toml:"on_demand" default:"[]" form:"certname" example:"[\"*.customers.example.org\"]"`

	// File with more of them, one on a line. SIGHUP reads it again.
	OnDemandFile string `toml:"on_demand_file" default:"" form:"path" example:"/etc/usher/customers.names"`

	// Or all those that were brought into the fleet by usher cert import.
	Imported bool `toml:"imported" default:"false"`
}

// automatic says whether a certificate is obtained.
func (c Certificate) automatic() bool {
	return len(c.Names)+len(c.OnDemand) > 0 || c.OnDemandFile != ""
}

// A certificateKind is one way to say where certificates come from, named by its
// keys that say it.
type certificateKind struct {
	key string
	set bool
}

// kinds are all of them, in the order of the manual.
func (c Certificate) kinds() []certificateKind {
	return []certificateKind{
		{"cert_file", c.CertFile != "" || c.KeyFile != ""},
		{"cert_dir", c.CertDir != ""},
		{"names or on_demand", c.automatic()},
		{"imported", c.Imported},
	}
}
