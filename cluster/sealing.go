package cluster

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// sealingFile has the secret of a node that is alone.
const sealingFile = "sealing"

// sealing is what values in the table are sealed with: the fleet's secret, and behind
// it the one of when the node was alone, which opens what it has sealed then.
func (f *Fleet) sealing() []Secret {
	return append(append([]Secret(nil), *f.secrets.Load()...), f.dir.lone...)
}

// openSealing reads the secret that a node seals with which has no fleet's, or makes
// it. It lies beside what it seals, so it helps against nobody who reads the whole
// directory; but a copy of the log or a snapshot, or what a disk still has of them,
// tells nothing without it. A node of a fleet makes none. After an error there is one
// nevertheless, which is gone with the process.
func (d *directory) openSealing(alone bool) error {
	path := filepath.Join(d.path, sealingFile)
	err := fs.ErrNotExist
	var text []byte
	if d.path != "" {
		text, err = os.ReadFile(path)
		defer clear(text)
	}
	if err == nil {
		b, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(string(text)))
		defer clear(b)
		if err == nil && len(b) == SecretLen {
			d.lone = []Secret{Secret(b)}
			return nil
		}
	}
	if alone {
		d.lone = []Secret{NewSecret()}
	}
	switch {
	case err == nil:
		return fmt.Errorf("state directory: %s is damaged; remove it and restart, and what it has sealed is made anew", path)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("state directory: %w", err)
	case !alone || d.path == "":
		return nil
	}
	return d.write(sealingFile, d.lone[0].Text()+"\n") // 0600
}
