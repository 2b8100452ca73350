package index_test

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/index"
)

// records is a table's content.
func records() map[string]string {
	r := make(map[string]string)
	for i := range 500 {
		r[fmt.Sprintf("MD5E-s%d--%032x.nii", i, i)] = fmt.Sprintf("%d ds:/data/my mount", i)
	}
	return r
}

// save writes values to a table, and deletes others, in one batch.
func save(t index.Table, values map[string]string, gone ...string) error {
	return t.Save(func(b *index.Batch) error {
		for _, key := range gone {
			if err := b.Delete(key); err != nil {
				return err
			}
		}
		for key, value := range values {
			if err := b.Set(key, []byte(value)); err != nil {
				return err
			}
		}
		return nil
	})
}

// load returns all that the table has whose keys begin with prefix.
func load(t *testing.T, table index.Table, prefix string) map[string]string {
	t.Helper()
	all, last := make(map[string]string), ""
	err := table.LoadAll(prefix, func(rest string, value []byte) error {
		if rest < last {
			t.Errorf("%q comes after %q", rest, last)
		}
		all[prefix+rest], last = string(value), rest
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTablesSurviveRestartAndKill(t *testing.T) {
	dir := t.TempDir()
	x := open(t, dir)
	want := records()
	if err := save(x.Table(index.Objects), want); err != nil {
		t.Fatal(err)
	}
	for gone := range want {
		if err := save(x.Table(index.Objects), nil, gone); err != nil {
			t.Fatal(err)
		}
		delete(want, gone)
		break
	}
	// What kill -9 leaves: the files as they are now, no clean end.
	killed := t.TempDir()
	if err := copyTree(killed, dir); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, killed} {
		x := open(t, d)
		if got := load(t, x.Table(index.Objects), ""); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		x.Close()
	}
}

// A table has what was saved in it last, and nothing of another.
func TestTablesHaveNothingOfOthers(t *testing.T) {
	x := open(t, t.TempDir())
	defer x.Close()
	facts, objects := x.Table(index.Facts), x.Table(index.Objects)
	if v, err := facts.Load("a"); !errors.Is(err, index.ErrAbsent) {
		t.Errorf("an empty table has %q, %v", v, err)
	}
	if err := save(facts, map[string]string{"a": "1", "a/b": "", "b": "2"}); err != nil {
		t.Fatal(err)
	}
	if v, err := facts.Load("a/b"); err != nil || len(v) != 0 {
		t.Errorf("an empty value is %q, %v", v, err)
	}
	if got := load(t, facts, "a"); !maps.Equal(got, map[string]string{"a": "1", "a/b": ""}) {
		t.Errorf("of what begins with a: %v", got)
	}
	if err := save(facts, map[string]string{"a": "3"}, "b"); err != nil {
		t.Fatal(err)
	}
	if v, err := facts.Load("a"); err != nil || string(v) != "3" {
		t.Errorf("written again: %q, %v", v, err)
	}
	if v, err := facts.Load("b"); !errors.Is(err, index.ErrAbsent) {
		t.Errorf("deleted: %q, %v", v, err)
	}
	if got := load(t, objects, ""); len(got) != 0 {
		t.Errorf("another table has %v", got)
	}
	enough := errors.New("enough")
	if err := facts.LoadAll("", func(string, []byte) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("who has seen enough gets %v", err)
	}
}

// Close waits for what is saved in the background.
func TestCloseWaitsForWhatIsSaved(t *testing.T) {
	dir := t.TempDir()
	x := open(t, dir)
	begin := make(chan struct{})
	x.Table(index.Facts).Later(func() {
		<-begin
		if err := save(x.Table(index.Facts), map[string]string{"a": "1"}); err != nil {
			t.Error(err)
		}
	})
	closed := make(chan error)
	go func() { closed <- x.Close() }()
	close(begin)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	x = open(t, dir)
	defer x.Close()
	if v, err := x.Table(index.Facts).Load("a"); err != nil || string(v) != "1" {
		t.Errorf("%q, %v", v, err)
	}
}

// What comes to be saved while the index is closed, or later, is either saved
// before the end or not begun.
func TestNothingIsSavedAfterClose(t *testing.T) {
	for range 20 {
		x := open(t, t.TempDir())
		table := x.Table(index.Facts)
		var begun, ended atomic.Int32
		var all sync.WaitGroup
		for n := range 4 {
			all.Go(func() {
				for range 50 {
					table.Later(func() {
						begun.Add(1)
						if err := save(table, map[string]string{fmt.Sprint(n): "1"}); err != nil {
							t.Error(err)
						}
						ended.Add(1)
					})
				}
			})
		}
		err := x.Close()
		if b, e := begun.Load(), ended.Load(); err != nil || b != e {
			t.Errorf("closed while %d of %d are being saved, %v", b-e, b, err)
		}
		all.Wait()
		before := begun.Load()
		table.Later(func() { begun.Add(1) })
		time.Sleep(time.Millisecond)
		if begun.Load() != before {
			t.Error("something begins to be saved in a closed index")
		}
	}
}
