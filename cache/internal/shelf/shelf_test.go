package shelf

import (
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/cache/internal/layout"
	"github.com/uniharmony/uniharmonyfs/cache/internal/partial"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

const kib = 1 << 10

// Whatever is done in whatever order, the books agree with the disk, the budget is
// kept, and what is pinned or open stays.
func TestBooksAgreeWithTheDisk(t *testing.T) {
	contents := make([]content, 6)
	for i := range contents {
		contents[i] = makeContent(t, uint64(i), []int{0, 1, 5 * kib, 40 * kib, 80 * kib, 150 * kib}[i])
	}
	rapid.Check(t, func(r *rapid.T) {
		b := newBench(t, 256*kib)
		running := make(map[[2]string]*transfer)
		users := make(map[[2]string]*user)
		pick := func() (content, [2]string) {
			c := contents[rapid.IntRange(0, len(contents)-1).Draw(r, "content")]
			return c, [2]string{c.key.String(), rapid.SampledFrom([]string{"a", "b"}).Draw(r, "dataset")}
		}
		end := func(id [2]string) {
			if running[id] != nil {
				running[id].rest()
				delete(running, id)
			}
		}
		var spoiled, pinned []annex.Key
		r.Repeat(map[string]func(*rapid.T){
			"begin": func(*rapid.T) {
				c, id := pick()
				if users[id] != nil {
					return
				}
				users[id] = &user{}
				if one := b.begin(c, id[1], users[id]); one != nil {
					running[id] = one
				}
			},
			"write": func(*rapid.T) {
				c, id := pick()
				if one := running[id]; one != nil {
					n := rapid.IntRange(0, len(c.data)).Draw(r, "end")
					if err := one.write(int64(n)); err != nil && !errors.Is(err, syscall.ENOSPC) {
						r.Fatal(err)
					}
				}
			},
			"publish": func(*rapid.T) {
				c, id := pick()
				if one := running[id]; one != nil && one.write(int64(len(c.data))) == nil {
					one.publish()
					delete(running, id)
				}
			},
			"leave": func(*rapid.T) {
				c, id := pick()
				if users[id] != nil {
					end(id)
					b.leave(c, users[id])
					delete(users, id)
				}
			},
			"pin": func(*rapid.T) {
				c, _ := pick()
				if err := b.Pin([]annex.Key{c.key}); err != nil {
					r.Fatal(err)
				}
				pinned = append(pinned, c.key)
			},
			"unpin": func(*rapid.T) {
				c, _ := pick()
				if err := b.Unpin([]annex.Key{c.key}); err != nil {
					r.Fatal(err)
				}
				pinned = slices.DeleteFunc(pinned, func(k annex.Key) bool { return k == c.key })
			},
			"drop": func(*rapid.T) {
				if _, _, err := b.Drop(nil); err != nil {
					r.Fatal(err)
				}
			},
			"budget": func(*rapid.T) {
				b.SetBudget(rapid.SampledFrom([]int64{0, 64 * kib, 256 * kib, 1024 * kib}).Draw(r, "budget"))
			},
			"spoil": func(*rapid.T) {
				c, _ := pick()
				if b.phase(c) != Present || len(c.data) == 0 {
					return
				}
				b.spoil(c)
				spoiled = append(spoiled, c.key)
				if err := b.Verify(t.Context(), c.key); !errors.Is(err, partial.ErrWrong) {
					r.Fatalf("a wrong file is found to be %v", err)
				}
				b.quiet()
				if b.phase(c) != Absent {
					r.Fatalf("a wrong file is %v", b.phase(c))
				}
			},
			"restart": func(*rapid.T) {
				for id := range running {
					end(id)
				}
				clear(users)
				before := make(map[annex.Key]bool)
				for _, c := range contents {
					before[c.key] = b.phase(c) == Present
				}
				b.close(b.Shelf)
				b.open(disk.OS{})
				for _, c := range contents {
					if before[c.key] && b.phase(c) != Present {
						r.Fatalf("%s is %v after a restart", c.key, b.phase(c))
					}
				}
			},
			"": func(*rapid.T) {
				b.keepBudget()
				b.Do(func() {
					if n := b.books.used + b.books.reserved; n > max(b.books.budget, b.books.pinned) && len(users) == 0 {
						r.Fatalf("%d bytes are taken of a budget of %d; %d are pinned", n, b.books.budget, b.books.pinned)
					}
					for _, k := range pinned {
						if o := b.Find(k); o != nil && o.file.at >= 0 {
							r.Fatal("what is pinned may be evicted")
						}
					}
					for id := range users {
						key, _ := annex.ParseKey(id[0])
						if o := b.Find(key); o == nil || o.file.at >= 0 {
							r.Fatal("what is open may be evicted")
						}
					}
				})
			},
		})
		for id := range running {
			end(id)
		}
		for _, c := range contents {
			for _, dataset := range []string{"a", "b"} {
				if u := users[[2]string{c.key.String(), dataset}]; u != nil {
					b.leave(c, u)
				}
			}
		}
		b.audit()
		if t.Failed() {
			r.Fatalf("with %d spoiled", len(spoiled))
		}
	})
}

// A change against the rules is told, and what is done goes on.
func TestIllegalTransitionIsTold(t *testing.T) {
	b := newBench(t, 1024*kib)
	one := makeContent(t, 1, 10)
	b.bring(one)
	b.Do(func() { b.move(b.Find(one.key), Present) })
	if b.Defects() != 1 || len(b.Audit()) == 0 {
		t.Error("nothing is told")
	}
}

// Of two transfers one gives the object its name. The other is told, and what it
// served is forgotten.
func TestOneTransferPublishes(t *testing.T) {
	b := newBench(t, 1024*kib)
	one := makeContent(t, 1, 100*kib)
	u := &user{}
	first, second := b.begin(one, "a", u), b.begin(one, "b", u)
	for _, x := range []*transfer{first, second} {
		if err := x.write(int64(len(one.data))); err != nil {
			t.Fatal(err)
		}
	}
	if !first.publish() {
		t.Fatal("nobody was before it")
	}
	if second.told != 1 {
		t.Errorf("the other was told %d times", second.told)
	}
	if second.publish() {
		t.Error("both have published")
	}
	b.leave(one, u)
	b.audit()
	if !slices.Equal(b.revoked, []string{"b"}) {
		t.Errorf("revoked is what was served to %q", b.revoked)
	}
}

// Who has an object open that turns out wrong is told, and all that it served is
// forgotten. A pinned one is set aside.
func TestDamageIsTold(t *testing.T) {
	b := newBench(t, 1024*kib)
	one := makeContent(t, 1, 100*kib)
	b.bring(one)
	if err := b.Pin([]annex.Key{one.key}); err != nil {
		t.Fatal(err)
	}
	u := &user{}
	var o *Object
	b.Do(func() { o = b.Use(one.key, int64(len(one.data)), u, true) })
	var file disk.File
	if err := b.OpenFile(o, func(f disk.File) bool { file = f; return true }); err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	b.spoil(one)
	if err := b.Verify(t.Context(), one.key); !errors.Is(err, partial.ErrWrong) {
		t.Fatal(err)
	}
	b.quiet()
	if !u.misled || !slices.Equal(b.revoked, []string{""}) {
		t.Errorf("told %v, revoked %q", u.misled, b.revoked)
	}
	if _, err := os.Stat(b.Store.SetAside(one.key)); err != nil {
		t.Error(err)
	}
	if len(b.options.Journal.Events()) != 1 {
		t.Error("the journal has nothing of it")
	}
	b.leave(one, u)
	b.audit()
}

// noRemove is a disk from which no object can be removed.
type noRemove struct {
	disk.OS
	broken bool
}

func (d *noRemove) Remove(path string) error {
	if d.broken && strings.Contains(path, "/objects/") {
		return syscall.EIO
	}
	return d.OS.Remove(path)
}

// What cannot be removed stays on the books and is left alone, and others make room
// for who comes.
func TestOthersMakeRoomForWhatIsStuck(t *testing.T) {
	b := newBench(t, 220*kib)
	b.close(b.Shelf)
	d := &noRemove{}
	b.open(d)
	cold, other, next := makeContent(t, 1, 100*kib), makeContent(t, 2, 100*kib), makeContent(t, 3, 100*kib)
	b.bring(cold)
	b.bring(other)
	d.broken = true
	u := &user{}
	one := b.begin(next, "a", u)
	if err := one.write(int64(len(next.data))); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("room is made by what cannot be removed: %v", err)
	}
	d.broken = false
	if err := one.write(int64(len(next.data))); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("what is stuck is not left alone: %v", err)
	}
	b.Do(func() {
		for _, i := range b.books.stuck {
			i.stuck = i.stuck.Add(-2 * stuckFor)
		}
		b.unstick()
	})
	if err := one.write(int64(len(next.data))); err != nil {
		t.Fatalf("it has no other chance: %v", err)
	}
	one.publish()
	b.leave(next, u)
	b.audit()
}

// A drop waits for the end of a transfer that goes on for nobody.
func TestDropEndsTransfersForNobody(t *testing.T) {
	b := newBench(t, 1024*kib)
	one := makeContent(t, 1, 100*kib)
	u := &user{}
	x := b.begin(one, "a", u)
	if err := x.write(50 * kib); err != nil {
		t.Fatal(err)
	}
	b.leave(one, u)
	x.yields = true
	files, bytes, err := b.Drop(func(owner string, _ annex.Key) bool { return owner == "me" })
	if err != nil || files != 1 || bytes == 0 {
		t.Errorf("%d files, %d bytes, %v", files, bytes, err)
	}
	b.audit()
	if !slices.Equal(b.revoked, []string{"a"}) {
		t.Errorf("revoked is what was served to %q", b.revoked)
	}
}

// What the ledger does not vouch for is not believed, what is of a wrong size goes, and
// what is not of the cache stays where it is.
func TestScan(t *testing.T) {
	b := newBench(t, 1024*kib)
	known, unknown, short := makeContent(t, 1, 10*kib), makeContent(t, 2, 10*kib), makeContent(t, 3, 10*kib)
	for _, c := range []content{known, unknown, short} {
		b.bring(c)
	}
	b.close(b.Shelf)
	delete(b.ledger.records, unknown.key)
	strange := b.Store.Objects() + "/strange"
	half := b.Store.Partials() + "/" + partial.Ident{Key: known.key, Dataset: "x"}.Name()
	path := b.Store.Object(short.key)
	if err := errors.Join(os.Chmod(path, 0o600), os.Truncate(path, 5), os.WriteFile(strange, nil, 0o600), os.WriteFile(half, make([]byte, 10), 0o600)); err != nil {
		t.Fatal(err)
	}
	b.open(disk.OS{})
	for c, want := range map[annex.Key]Phase{known.key: Present, unknown.key: Unchecked, short.key: Absent} {
		b.Do(func() {
			got := Absent
			if o := b.Find(c); o != nil {
				got = o.phase
			}
			if got != want {
				t.Errorf("%s is %v, want %v", c, got, want)
			}
		})
	}
	if _, err := os.Stat(strange); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(half); err == nil {
		t.Error("a partial file without a map is kept")
	}
	if err := os.Remove(strange); err != nil {
		t.Fatal(err)
	}
	b.audit()
}

// What never fits is told at once, as such.
func TestWhatNeverFits(t *testing.T) {
	b := newBench(t, 64*kib)
	large := makeContent(t, 1, 100*kib)
	u := &user{}
	x := b.begin(large, "a", u)
	err := x.write(1)
	if full := new(NoSpaceError); !errors.As(err, &full) || !full.Never || full.Need != layout.Charge(100*kib) {
		t.Errorf("it is told %v", err)
	}
	x.rest()
	b.leave(large, u)
	b.audit()
}
