package config

// api checks what [admin.api] needs of this host. Its tokens are for whoever knows what
// they look like; see [Config.At].
func (k *checker) api() {
	a := k.c.Admin.API
	addr, err := parseListen(a.Address)
	if err != nil {
		return // none, or told already
	}
	k.port("admin.api.address", int(addr.Port()))
	k.pair("admin.api.cert_file", a.CertFile, "admin.api.key_file", a.KeyFile, k.note)
	k.authorities("admin.api.client_ca_file", a.ClientCAFile)
	for _, r := range a.Operators {
		if r == "*" {
			k.note("admin.api.operators", `operators: "*" lets every certificate of client_ca_file give orders`)
		}
	}
}
