package certs

import (
	"context"
	"errors"
)

// renew implements renewer: the files are read again. What is in trouble there is
// the error; what was shown is shown on.
func (f *files) renew(context.Context, string, string, bool) error {
	f.look(true)
	var errs []error
	for _, t := range f.stand.Load().troubles {
		errs = append(errs, t.err)
	}
	return errors.Join(errs...)
}
