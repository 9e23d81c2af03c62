package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

const (
	// fetchLimit bounds a download of at most 60 MB and the wait for another
	// process that is at it.
	fetchLimit = 10 * time.Minute

	// fetchTries is how often a download is begun: mirrors change under one's
	// hands, and two apt at once can disturb each other.
	fetchTries = 2

	// lockInterval is how often a taken lock is tried again.
	lockInterval = 100 * time.Millisecond
)

// fetch returns a kernel, out of the user's cache folder if it is there and
// sound. It stays in use until the folder is removed: what a test showed
// yesterday is not changed by a new version.
func fetch(ctx context.Context, want recipe) (kernel, error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return kernel{}, fmt.Errorf("guests are for linux on amd64, this is %s on %s", runtime.GOOS, runtime.GOARCH)
	}
	caches, err := os.UserCacheDir()
	if err != nil {
		return kernel{}, err
	}
	dir := filepath.Join(caches, "usher-test-guests")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return kernel{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	unlock, err := lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return kernel{}, err
	}
	defer unlock()

	target := filepath.Join(dir, want.name)
	k, err := want.load(target)
	for try := 0; err != nil && try < fetchTries && ctx.Err() == nil; try++ {
		if err = want.install(ctx, target); err == nil {
			k, err = want.load(target)
		}
	}
	return k, err
}

// install replaces a folder of the cache by a new one. If it fails, the folder
// is gone.
func (want recipe) install(ctx context.Context, target string) (err error) {
	work, fresh := target+".work", target+".new"
	for _, dir := range []string{target, work, fresh} { // an earlier one may have been killed
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work), os.RemoveAll(fresh)) }()
	for _, dir := range []string{work, fresh} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := want.build(ctx, work, fresh); err != nil {
		return err
	}
	return os.Rename(fresh, target)
}

// lock waits until no other process holds the lock. It goes with the process.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	retry := time.NewTicker(lockInterval)
	defer retry.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { f.Close() }, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for who holds %s: %w", path, ctx.Err())
		case <-retry.C:
		}
	}
}
