package config

import "reflect"

// NeedsRestart lists the keys that differ between two configurations and that
// SIGHUP cannot change, such as "admin.socket". A reload goes on with their
// old values and warns.
func NeedsRestart(old, new *Config) []string {
	var keys []string
	var walk func(path string, a, b reflect.Value)
	walk = func(path string, a, b reflect.Value) {
		for _, f := range fields(a.Type()) {
			sub := join(path, f.key)
			av, bv := a.FieldByIndex(f.index), b.FieldByIndex(f.index)
			switch {
			case f.shape() == table:
				walk(sub, av, bv)
			case f.tag.Get("reload") == "no" && !av.Equal(bv):
				keys = append(keys, sub)
			}
		}
	}
	walk("", reflect.ValueOf(old).Elem(), reflect.ValueOf(new).Elem())
	return keys
}
