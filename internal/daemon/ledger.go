package daemon

import (
	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/index"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// ledger is a table of the index as the cache knows it.
type ledger struct{ table index.Table }

// Load leaves out what cannot be understood: such an object is hashed again.
func (l ledger) Load(fn func(cache.Record)) error {
	return l.table.LoadAll("", func(key string, value []byte) error {
		if r, err := cache.DecodeRecord(key, value); err == nil {
			fn(r)
		}
		return nil
	})
}

func (l ledger) Save(put []cache.Record, del []annex.Key) error {
	return l.table.Save(func(b *index.Batch) error {
		for _, k := range del {
			if err := b.Delete(k.String()); err != nil {
				return err
			}
		}
		for _, r := range put {
			if err := b.Set(r.Key.String(), r.Encode()); err != nil {
				return err
			}
		}
		return nil
	})
}
