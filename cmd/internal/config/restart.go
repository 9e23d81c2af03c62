package config

import "reflect"

// NeedsRestart lists the keys that differ between the configuration that the
// process was started with and a later one, and that SIGHUP cannot change, such
// as "admin.socket". A reload goes on with their first values and warns.
func NeedsRestart(first, later *Config) []string {
	var keys []string
	var walk func(path string, a, b reflect.Value)
	walk = func(path string, a, b reflect.Value) {
		for _, f := range fields(a.Type()) {
			sub := join(path, f.key)
			av, bv := a.FieldByIndex(f.index), b.FieldByIndex(f.index)
			switch {
			case f.shape() == table:
				walk(sub, av, bv)
			case f.tag.Get("reload") == "no" && !reflect.DeepEqual(av.Interface(), bv.Interface()):
				keys = append(keys, sub)
			}
		}
	}
	walk("", reflect.ValueOf(first).Elem(), reflect.ValueOf(later).Elem())
	return keys
}
