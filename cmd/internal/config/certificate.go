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
}

// A certificateKind is one way to say where certificates come from, named by its
// first key.
type certificateKind struct {
	key string
	set bool
}

// kinds are all of them, in the order of the manual.
func (c Certificate) kinds() []certificateKind {
	return []certificateKind{
		{"cert_file", c.CertFile != "" || c.KeyFile != ""},
		{"cert_dir", c.CertDir != ""},
	}
}
