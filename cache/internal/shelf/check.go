package shelf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/life"
	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
	"github.com/uniharmony/uniharmonyfs/cache/internal/proof"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// A Check is an object on disk being compared with its key.
type Check struct {
	done   chan struct{}
	cancel context.CancelFunc
	asked  int   // requests to verify that wait for it; guarded by the lock
	err    error // valid after done
}

// Wait returns when the check has ended: with nil when the object's phase says what
// came of it, else with why it could not be found out, or with ctx's error.
func (k *Check) Wait(ctx context.Context) error {
	if err := life.Wait(ctx, k.done); err != nil {
		return err
	}
	if IsDamage(k.err) || errors.Is(k.err, proof.ErrChanged) {
		return nil
	}
	return k.err
}

// leave ends a check that nobody waits for. Callers hold the lock, and know of
// no user.
func (k *Check) leave() {
	if k.asked == 0 {
		k.cancel()
	}
}

// StartCheck starts the object's check, or joins the one that runs. A damaged
// object is removed. Callers hold the lock.
func (s *Shelf) StartCheck(o *Object) *Check {
	if o.check != nil {
		return o.check
	}
	ctx, cancel := context.WithCancel(s.Context)
	k := &Check{done: make(chan struct{}), cancel: cancel}
	o.check = k
	s.Settle(o)
	finish := func(info disk.Info, err error) {
		s.Do(func() {
			o.check, k.err = nil, err
			s.checked(o, info, err)
			s.Settle(o)
		})
		cancel()
		close(k.done)
	}
	s.Spawn("a check", func() {
		info, err := s.Store.Check(ctx, o.Key, o.Size)
		if IsDamage(err) {
			s.disavow(o)
		}
		finish(info, err)
	}, func(err error) { finish(disk.Info{}, err) })
	return k
}

// checked draws the conclusions from a check. Callers hold the lock.
func (s *Shelf) checked(o *Object, info disk.Info, err error) {
	switch {
	case !o.IsHere():
	case err == nil:
		changed := o.id != info.ID
		o.id = info.ID
		s.books.set(&o.file, info.Charge(), s.pinned[o.Key])
		if o.phase == Unchecked {
			s.move(o, Present)
		}
		o.synced = o.synced && !changed
	case errors.Is(err, fs.ErrNotExist):
		s.vanished(o)
	case IsDamage(err):
		s.Damaged(o, err)
	}
	// Whatever else happened says nothing about the object.
	if o.phase == Present && !o.synced {
		s.ledger.unsynced = append(s.ledger.unsynced, o)
	}
}

// Verify hashes what the cache holds of a key, whatever is known of it. A
// damaged object is removed, or set aside if it is pinned; what was served of it
// is revoked; and the error is [partial.ErrWrong]. Any other error says that it could
// not be found out. Without an object there is nothing to do.
func (s *Shelf) Verify(ctx context.Context, key annex.Key) error {
	var k *Check
	s.Do(func() {
		o := s.objects[key]
		if o == nil || !o.IsHere() || s.closed {
			return
		}
		k = s.StartCheck(o)
		k.asked++
	})
	if k == nil {
		return nil
	}
	err := life.Wait(ctx, k.done)
	s.Do(func() {
		k.asked--
		if o := s.objects[key]; o != nil && o.check == k && len(o.users) == 0 {
			k.leave()
		}
	})
	if err != nil {
		return err
	}
	switch {
	case k.err == nil:
		return nil
	case IsDamage(k.err):
		return fmt.Errorf("%s: %w", key, errors.Join(partial.ErrWrong, k.err))
	}
	return k.err
}
