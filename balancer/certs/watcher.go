package certs

import "context"

// A Watcher is a storage that tells what others change in it. Watch calls changed
// for each key under prefix that was stored or deleted, until ctx ends; changed
// returns at once. The first call may be for keys that were there before.
type Watcher interface {
	Watch(ctx context.Context, prefix string, changed func(key string))
}
