package dnstest

import (
	"fmt"
	"slices"
	"strings"
)

// zoneFile writes a zone with what of the records belongs to it.
func zoneFile(zone string, records []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "$TTL 60\n%s. SOA ns.%s. root.%s. 1 3600 600 86400 60\n%s. NS ns.%s.\nns.%s. A 127.0.0.1\n", zone, zone, zone, zone, zone, zone)
	for _, record := range records {
		name, _, _ := strings.Cut(record, " ")
		if strings.HasSuffix("."+name, "."+zone+".") {
			fmt.Fprintln(&b, record)
		}
	}
	return b.String()
}

// bindConfig writes named.conf. Nothing in it may reach for the network, for
// the machine's own BIND, or for a folder but its own.
func bindConfig(o Options, dir string, port int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `options {
	directory %q;
	listen-on port %d { 127.0.0.1; };
	listen-on-v6 { none; };
	pid-file none;
	session-keyfile none;
	lock-file none;
	recursion no;
	dnssec-validation no;
	empty-zones-enable no;
	notify no;
};
controls { };
`, dir, port)
	for _, key := range o.Keys {
		fmt.Fprintf(&b, "key %q { algorithm %s; secret %q; };\n", key.Name, key.Algorithm, key.Secret)
	}
	for _, zone := range o.Zones {
		fmt.Fprintf(&b, "zone %q {\n\ttype primary;\n\tfile %q;\n\tupdate-policy {\n", zone, zone+".zone")
		for _, key := range o.Writers {
			for _, name := range o.Only {
				fmt.Fprintf(&b, "\t\tgrant %s name %s TXT;\n", key, name)
			}
			if len(o.Only) == 0 {
				fmt.Fprintf(&b, "\t\tgrant %s zonesub TXT;\n", key)
			}
		}
		b.WriteString("\t};\n};\n")
	}
	return b.String()
}

// knotConfig writes knot.conf, likewise.
func knotConfig(o Options, dir string, port int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `server:
    listen: 127.0.0.1@%d
    rundir: %s
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: %s
    journal-db-max-size: 16M
    kasp-db-max-size: 5M
    timer-db-max-size: 1M
log:
  - target: stderr
    any: info
`, port, dir, dir)
	b.WriteString("key:\n")
	for _, key := range o.Keys {
		fmt.Fprintf(&b, "  - id: %s\n    algorithm: %s\n    secret: %s\n", key.Name, key.Algorithm, key.Secret)
	}
	b.WriteString("acl:\n")
	for _, key := range o.Keys {
		action := "transfer" // a key that no zone's rules name is unknown to Knot
		if slices.Contains(o.Writers, key.Name) {
			action = "update"
		}
		fmt.Fprintf(&b, "  - id: acl_%s\n    key: %s\n    action: %s\n", key.Name, key.Name, action)
		if len(o.Only) > 0 && action == "update" {
			b.WriteString("    update-type: TXT\n    update-owner: name\n    update-owner-match: equal\n")
			fmt.Fprintf(&b, "    update-owner-name: [%s]\n", strings.Join(o.Only, ", "))
		}
	}
	fmt.Fprintf(&b, "template:\n  - id: default\n    storage: %s\n", dir)
	b.WriteString("zone:\n")
	for _, zone := range o.Zones {
		fmt.Fprintf(&b, "  - domain: %s\n    file: %s.zone\n    acl: [", zone, zone)
		for i, key := range o.Keys {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "acl_%s", key.Name)
		}
		b.WriteString("]\n")
	}
	return b.String()
}
