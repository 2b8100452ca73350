package shelf

import (
	"errors"
	"io/fs"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/proof"
)

// OpenFile opens the file of a present object, to read. take is called with the lock
// held, and says whether it keeps the file: it is closed else. An error that
// proof.ErrChanged is says that the phase must be looked at again. Evidence that the
// file is not the object demotes it; that it cannot be opened at the moment does not.
func (s *Shelf) OpenFile(o *Object, take func(disk.File) bool) error {
	f, info, err := s.Store.OpenObject(o.Key, o.Size)
	kept := false
	defer func() {
		if f != nil && !kept {
			f.Close()
		}
	}()
	s.Do(func() {
		switch {
		case o.phase != Present:
			err = proof.ErrChanged
		case errors.Is(err, fs.ErrNotExist):
			s.log.Warn("an object is gone: it is fetched again", "key", o.Key)
			s.vanished(o)
			err = proof.ErrChanged
		case IsDamage(err):
			s.Damaged(o, err)
			err = proof.ErrChanged
		case err != nil:
		case info.ID != o.id:
			s.move(o, Unchecked)
			err = proof.ErrChanged
		default:
			kept = take(f)
			o.served = o.served || kept
		}
	})
	return err
}

// Linked takes note that a link was made to an object's file: that changes its time of
// change, which alone is believed.
func (s *Shelf) Linked(o *Object, before, after disk.Info) {
	s.Do(func() {
		if o.phase == Present && o.id == before.ID && before.Size == after.Size && before.MTime == after.MTime {
			o.id = after.ID
			s.ledger.dirty[o.Key] = true
		}
	})
}
