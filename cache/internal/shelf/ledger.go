package shelf

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/layout"
	"github.com/uniharmony/uniharmonyfs/cache/internal/life"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

const (
	flushEvery = time.Second      // data of new objects
	noteEvery  = 30 * time.Second // order of use
)

// ledgerState is what the ledger has yet to learn. Guarded by the lock, but for
// the lock that is held while it is written.
type ledgerState struct {
	saving   disk.Turn
	dirty    map[annex.Key]bool // it is behind on these
	unsynced []*Object          // written, not flushed
	resting  []*Fill            // the same
}

// keepLedger runs until the cache is closed.
func (s *Shelf) keepLedger() {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-s.Context.Done():
			return
		case now := <-tick.C:
			due := false
			s.Do(func() {
				s.unstick()
				l := &s.ledger
				due = len(l.unsynced)+len(l.resting) > 0 || len(l.dirty) > 0 && now.Sub(last) >= noteEvery
			})
			s.keepBudget()
			s.WakeRoomWaiters()
			if !due {
				continue
			}
			last = now
			if err := s.flushLedger(s.Context); err != nil {
				s.log.Warn("ledger is behind: objects may be hashed again", "err", err)
			}
		}
	}
}

// flushLedger flushes the data of new objects and brings the ledger up to
// date: first the data, then the record that vouches for it. When ctx ends, what
// was not flushed stays unvouched for.
func (s *Shelf) flushLedger(ctx context.Context) error {
	var objects []*Object
	var fills []*Fill
	s.Do(func() {
		objects, fills = s.ledger.unsynced, s.ledger.resting
		s.ledger.unsynced, s.ledger.resting = nil, nil
	})
	for len(fills) > 0 && ctx.Err() == nil {
		s.flushFill(fills[0])
		fills = fills[1:]
	}
	for len(objects) > 0 && ctx.Err() == nil {
		s.flushObject(objects[0])
		objects = objects[1:]
	}
	s.Do(func() {
		s.ledger.resting = append(fills, s.ledger.resting...)
		s.ledger.unsynced = append(objects, s.ledger.unsynced...)
	})
	return s.saveLedger()
}

// saveLedger writes what has changed into the ledger.
func (s *Shelf) saveLedger() error {
	s.ledger.saving.Lock()
	defer s.ledger.saving.Unlock()
	var put []Record
	var del []annex.Key
	s.Do(func() {
		for key := range s.ledger.dirty {
			switch o := s.objects[key]; {
			case o != nil && o.phase == Present && !o.synced:
				continue // it is going to be flushed
			case o != nil && o.phase == Present:
				put = append(put, o.record())
			default:
				del = append(del, key)
			}
			delete(s.ledger.dirty, key)
		}
	})
	if s.options.Ledger == nil || len(put)+len(del) == 0 {
		return nil
	}
	err := s.options.Ledger.Save(put, del)
	if err != nil {
		s.Do(func() {
			for _, r := range put {
				s.ledger.dirty[r.Key] = true
			}
			for _, key := range del {
				s.ledger.dirty[key] = true
			}
		})
	}
	return err
}

// disavow has the ledger vouch no more for an object that is damaged, before
// anybody is told: should this process end before the file is gone, the next one
// hashes it.
func (s *Shelf) disavow(o *Object) {
	if s.options.Ledger == nil {
		return
	}
	s.Do(func() { o.synced = false }) // what is not flushed is not vouched for
	s.ledger.saving.Lock()
	defer s.ledger.saving.Unlock()
	if err := s.options.Ledger.Save(nil, []annex.Key{o.Key}); err != nil {
		s.log.Error("the ledger still vouches for a damaged object", "key", o.Key, "err", err)
	}
}

// flushObject flushes an object's data, unless it is being checked: then that
// decides. Meanwhile it is not evicted: an open file's blocks stay in use.
func (s *Shelf) flushObject(o *Object) error {
	var id disk.ID
	begun := false
	s.Do(func() {
		if begun = o.phase == Present && !o.synced && o.flushing == nil && o.check == nil; begun {
			o.flushing, id = make(chan struct{}), o.id
			s.Settle(o)
		}
	})
	if !begun {
		return nil
	}
	err := s.Store.Flush(o.Key, o.Size, id)
	s.Do(func() {
		close(o.flushing)
		o.flushing = nil
		same := o.phase == Present && o.id == id
		switch {
		case err == nil && same:
			o.synced = true
			s.ledger.dirty[o.Key] = true
		case same && !errors.Is(err, layout.ErrUnopened):
			s.log.Error("not flushed", "key", o.Key, "err", err)
			s.Distrust(o, id)
		case same:
			s.log.Info("not flushed yet", "key", o.Key, "err", err)
			s.ledger.unsynced = append(s.ledger.unsynced, o)
		}
		s.Settle(o)
	})
	s.WakeRoomWaiters()
	return err
}

// Distrust has what the disk holds of an object hashed. What it did not take the
// kernel alone may keep, for as long as it likes, and no later flush would tell.
// Callers hold the lock.
func (s *Shelf) Distrust(o *Object, id disk.ID) {
	if o.phase != Present || o.id != id {
		return
	}
	s.move(o, Unchecked)
	if !s.closed {
		s.StartCheck(o)
	}
}

// Flush returns when the content of keys that is here would survive a power cut,
// or with what the disk said. What is not here is passed over. It is for what is
// promised, as pins are: all else is flushed in the background.
func (s *Shelf) Flush(ctx context.Context, keys []annex.Key) error {
	for _, key := range keys {
		if err := s.flushKey(ctx, key); err != nil {
			return fmt.Errorf("%s would not survive a power cut: %w", key, err)
		}
	}
	return nil
}

// rounds bounds how often an object may change while it is to be flushed.
const rounds = 8

func (s *Shelf) flushKey(ctx context.Context, key annex.Key) error {
	for range rounds {
		var o *Object
		var busy <-chan struct{}
		s.Do(func() {
			switch o = s.objects[key]; {
			case o == nil:
			case o.check != nil:
				busy = o.check.done
			case o.flushing != nil:
				busy = o.flushing
			case o.phase != Present || o.synced:
				o = nil
			}
		})
		err := error(nil)
		switch {
		case o == nil:
			return nil
		case busy != nil:
			err = life.Wait(ctx, busy)
		default:
			err = s.flushObject(o)
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("it changes all the time: %w", syscall.EIO)
}

// flushFill flushes a partial file at rest.
func (s *Shelf) flushFill(f *Fill) {
	begun := false
	s.Do(func() {
		if begun = f.item.blocks > 0 && f.Transfer == nil && f.removed == nil && f.flushing == nil; begun {
			f.flushing = make(chan struct{})
			s.Settle(f.Object)
		}
	})
	if !begun {
		return
	}
	// A transfer that goes on with it meanwhile writes a map of its own.
	if err := f.File.Flush(); err != nil {
		s.log.Info("a partial file is not flushed", "key", f.Object.Key, "err", err)
	}
	s.Do(func() {
		close(f.flushing)
		f.flushing = nil
		s.Settle(f.Object)
	})
	s.WakeRoomWaiters()
}
