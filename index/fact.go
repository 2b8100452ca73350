package index

import (
	badger "github.com/dgraph-io/badger/v4"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

const factPrefix = "f/"

func factKey(k annex.Key) []byte { return []byte(factPrefix + k.String()) }

// Fact returns what was kept of a content: something small that is known once
// the content was read, and stays true. ok is false when nothing is known, or
// what was kept is damaged.
func (x *Index) Fact(key annex.Key) (fact []byte, ok bool) {
	err := x.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(factKey(key))
		if err != nil {
			return err
		}
		return item.Value(func(v []byte) error {
			v, err := unseal(v)
			fact = append(fact, v...)
			return err
		})
	})
	return fact, err == nil
}

// SaveFacts keeps facts of contents, all in one batch.
func (x *Index) SaveFacts(facts map[annex.Key][]byte) error {
	if len(facts) == 0 {
		return nil
	}
	return x.write(func(b *batch) error {
		for k, v := range facts {
			if err := b.Set(factKey(k), seal(v)); err != nil {
				return err
			}
		}
		return nil
	})
}
