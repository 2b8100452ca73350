package dataset

import (
	"context"
)

// turn is had by one at a time; unlike a mutex's, its waiters can leave.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// take waits for the turn; waiting, if not nil, is called when somebody has it.
func (t turn) take(ctx context.Context, waiting func()) (done func(), err error) {
	done = func() { <-t }
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	select {
	case t <- struct{}{}:
		return done, nil
	default:
	}
	if waiting != nil {
		waiting()
	}
	select {
	case t <- struct{}{}:
		return done, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
