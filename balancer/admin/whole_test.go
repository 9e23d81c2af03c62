package admin_test

import (
	"context"
	"log/slog"

	"usher.example/balancer/admin"
)

// adding takes every order about back ends that come and go by command.
type adding struct{}

func (adding) Additions(context.Context) ([]admin.Addition, error) {
	return []admin.Addition{{
		Pool: "main", Backend: "mail3", Host: "192.0.2.3", IMAPPort: 143, By: "ann", At: 1800000000, Live: true,
		Problems: map[string]string{"u2": "dial 192.0.2.3:143: refused"},
	}}, nil
}

func (adding) TryAdd(context.Context, admin.BackendAdd) error       { return nil }
func (adding) Add(context.Context, admin.BackendAdd) error          { return nil }
func (adding) TryRemove(context.Context, admin.BackendRemove) error { return nil }
func (adding) Remove(context.Context, admin.BackendRemove) error    { return nil }

// whole is a Server of the node that has everything that there can be.
func (n *node) whole(f admin.Fleet, log *slog.Logger) *admin.Server {
	events := admin.NewEvents()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return admin.New(admin.Options{
		Node: n.balancer, Places: pinning{n.places}, Fleet: f, Keeper: keeper{}, Reloads: n.reloads, Explainer: n.places, Additions: adding{},
		Events: events, Log: slog.New(events.Handler(log.Handler())),
	})
}
