package index

import (
	"bytes"
	"errors"
	"testing"

	badger "github.com/dgraph-io/badger/v4"
)

// A value that is not the one that was saved is not given back.
func TestDamagedValuesAreLeftOut(t *testing.T) {
	x, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	table := x.Table(Facts)
	whole := seal([]byte("value"))
	damaged := [][]byte{{}, whole[:4], whole[:len(whole)-1], append(bytes.Clone(whole), 0), bytes.Replace(whole, []byte("v"), []byte("w"), 1)}
	err = x.db.Update(func(txn *badger.Txn) error {
		for i, v := range damaged {
			if err := txn.Set([]byte{'f', '/', 'a' + byte(i)}, v); err != nil {
				return err
			}
		}
		return txn.Set([]byte("f/whole"), whole)
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range damaged {
		if v, err := table.Load(string('a' + rune(i))); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q is %q, %v", damaged[i], v, err)
		}
	}
	var seen []string
	err = table.LoadAll("", func(key string, v []byte) error {
		seen = append(seen, key+"="+string(v))
		return nil
	})
	if err != nil || len(seen) != 1 || seen[0] != "whole=value" {
		t.Errorf("%q, %v", seen, err)
	}
}

// What is sealed shares no memory with what the caller may go on to change.
func TestSealCopies(t *testing.T) {
	v := make([]byte, 1, 100)
	sealed := seal(v)
	v = append(v, "changed"...)
	if got, err := unseal(sealed); err != nil || len(got) != 1 {
		t.Errorf("%q, %v", got, err)
	}
	_ = v
}
