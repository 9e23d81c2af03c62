package admin

import "errors"

// outcomeOf is the code of an order that has been done, or has failed.
func outcomeOf(err error, done, failed string) string {
	if err != nil {
		return failed
	}
	return done
}

// pendingOr is the code of an order that goes on though it was not waited for.
func pendingOr(err error, pending, code string) string {
	if errors.Is(err, errPatience) {
		return pending
	}
	return code
}

// moveCode, pinCode and unpinCode are the codes of orders about a user.
func moveCode(err error) (event string) {
	event = outcomeOf(err, "user_moved", "user_move_failed")
	return pendingOr(err, "user_move_pending", event)
}

func pinCode(err error) (event string) {
	event = outcomeOf(err, "user_pinned", "user_pin_failed")
	return pendingOr(err, "user_pin_pending", event)
}

func unpinCode(err error) (event string) {
	event = outcomeOf(err, "user_unpinned", "user_unpin_failed")
	return pendingOr(err, "user_unpin_pending", event)
}
