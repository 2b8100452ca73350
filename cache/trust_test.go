package cache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

func flipped(c content, at int) content {
	wrong := content{c.key, bytes.Clone(c.data)}
	wrong.data[at] ^= 1
	return wrong
}

func sources(list ...cache.Source) *far {
	return &far{sources: func(annex.Key) ([]cache.Source, error) { return list, nil }}
}

// neverWrong reads n bytes at off until they come, for a moment at most. Errors
// are allowed, wrong bytes are not.
func neverWrong(t *testing.T, h *cache.Handle, right content, off, n int) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	buf := make([]byte, n)
	got, err := h.ReadAt(ctx, buf, int64(off))
	if got > 0 && !bytes.Equal(buf[:got], right.data[off:off+got]) {
		t.Fatalf("wrong bytes at %d were served: %v", off, err)
	}
	return err
}

// What a source without a version has sent stays unverified, also when an
// exact source goes on.
func TestBytesKeepTheirProvenance(t *testing.T) {
	one := makeContent(t, 300, 3*mib)
	wrong := flipped(one, 100)
	first := inexact{scripted{"inexact", func(off, n int64, w io.Writer) error {
		w.Write(wrong.data[off:min(off+n, 2*mib)])
		return errors.New("broken off")
	}}, false}
	gate := make(chan struct{})
	second := scripted{"exact", func(off, n int64, w io.Writer) error {
		<-gate
		return honest(one)(off, n, w)
	}}
	dir := t.TempDir()
	c := open(t, dir, cache.Options{})
	use := cache.Use{Origin: sources(first, second), Dataset: "ds"}
	h := mustOpen(t, c, one.key, use)
	if err := neverWrong(t, h, one, 0, 16*kib); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("read before anything was verified: %v", err)
	}
	h.Close()
	close(gate)
	settle(t, c)
	c.Close()
	// Nor is it forgotten over a restart.
	c = open(t, dir, cache.Options{})
	gate = make(chan struct{})
	defer close(gate)
	h = mustOpen(t, c, one.key, cache.Use{Origin: sources(second), Dataset: "ds"})
	neverWrong(t, h, one, 0, 16*kib)
}

// A dataset says of its own sources that they are exact. That it has a key in
// common with another one makes that nobody else's word.
func TestDatasetsCannotMisleadEachOther(t *testing.T) {
	one := makeContent(t, 301, 3*mib)
	wrong := flipped(one, 100)
	gate := make(chan struct{})
	evil := cache.Use{Dataset: "evil", Origin: sources(scripted{"evil", func(off, n int64, w io.Writer) error {
		if off > 0 {
			<-gate // never sends the rest
		}
		return honest(wrong)(off, n, w)
	}})}
	good := cache.Use{Dataset: "good", Origin: sources(scripted{"good", honest(one)}), NoReadAhead: true}
	dir := t.TempDir()
	c := open(t, dir, cache.Options{Revoke: func(_ annex.Key, dataset string) {
		if dataset != "evil" {
			t.Errorf("readers of %q were told to forget", dataset)
		}
	}})
	h := mustOpen(t, c, one.key, evil)
	mustReadAt(t, h, wrong, 0, 16*kib)
	// While evil's transfer goes on.
	g := mustOpen(t, c, one.key, good)
	mustReadAt(t, g, one, 0, 16*kib)
	g.Close()
	h.Close()
	close(gate)
	settle(t, c)
	c.Close()
	// After a restart, what evil sent is there, and evil's.
	c = open(t, dir, cache.Options{})
	if s := c.Status(); s.Partials != 2 {
		t.Errorf("%d partial files", s.Partials)
	}
	g = mustOpen(t, c, one.key, good)
	mustReadAt(t, g, one, 0, 16*kib)
	mustRead(t, c, one, good)
}

// Evil's failures are evil's.
func TestDatasetsDoNotShareFailures(t *testing.T) {
	one := makeContent(t, 302, 50*kib)
	wrong := flipped(one, 100)
	c := open(t, t.TempDir(), cache.Options{FailureTTL: time.Hour})
	for _, bad := range []cache.Source{scripted{"wrong", honest(wrong)}, scripted{"none", func(int64, int64, io.Writer) error { return errors.New("no") }}} {
		if _, err := readAll(c, one.key, cache.Use{Dataset: "evil", Origin: sources(bad)}); err == nil {
			t.Fatal("read what is wrong")
		}
	}
	mustRead(t, c, one, cache.Use{Dataset: "good", Origin: newFar(one)})
}

// Two datasets bring the same key at the same time: both are served, one object
// comes of it.
func TestDatasetsShareTheObject(t *testing.T) {
	one := makeContent(t, 303, 5*mib)
	c := open(t, t.TempDir(), cache.Options{Revoke: func(annex.Key, string) { t.Error("revoked") }})
	a := mustOpen(t, c, one.key, cache.Use{Dataset: "a", Origin: newFar(one)})
	b := mustOpen(t, c, one.key, cache.Use{Dataset: "b", Origin: newFar(one)})
	for off := 0; off < len(one.data); off += 64 * kib {
		mustReadAt(t, a, one, off, 64*kib)
		mustReadAt(t, b, one, off, 64*kib)
	}
	a.Close()
	b.Close()
	if s := settle(t, c); s.Objects != 1 || s.Partials != 0 || s.Used != 5*mib {
		t.Errorf("%+v", s)
	}
}

// An object that was changed is noticed although its mtime was set back.
func TestObjectChangedWithRestoredTime(t *testing.T) {
	one := makeContent(t, 306, 100*kib)
	dir := t.TempDir()
	c := open(t, dir, cache.Options{})
	use := cache.Use{Origin: newFar(one)}
	mustRead(t, c, one, use)
	path := filepath.Join(dir, "objects", one.key.ObjectPath())
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(rewrite(path, flipped(one, 9).data), os.Chtimes(path, st.ModTime(), st.ModTime())); err != nil {
		t.Fatal(err)
	}
	readAfterRevocation(t, c, one, use)
}

// Whoever was served of an object that turns out damaged is told to forget it,
// and gets nothing more of it.
func TestVerifyRevokesWhatWasServed(t *testing.T) {
	one := makeContent(t, 307, 100*kib)
	dir := t.TempDir()
	revoked := make(chan string, 4)
	c := open(t, dir, cache.Options{Revoke: func(_ annex.Key, dataset string) { revoked <- dataset }})
	use := cache.Use{Origin: newFar(one), Dataset: "ds"}
	h := mustOpen(t, c, one.key, use)
	mustReadAt(t, h, one, 0, 4096)
	if h, err := c.Open(one.key, use); err != nil {
		t.Fatal(err)
	} else {
		mustReadAt(t, h, one, 0, 4096)
		defer h.Close()
	}
	path := filepath.Join(dir, "objects", one.key.ObjectPath())
	f, err := os.OpenFile(path, os.O_WRONLY, 0) // root may; the time is not looked at
	if errors.Is(err, os.ErrPermission) {
		os.Chmod(path, 0o644)
		f, err = os.OpenFile(path, os.O_WRONLY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte{one.data[9] ^ 1}, 9)
	f.Close()
	if err := c.Verify(t.Context(), one.key); !errors.Is(err, cache.ErrMismatch) {
		t.Fatalf("verified: %v", err)
	}
	if to := <-revoked; to != "" {
		t.Errorf("only readers of %q were told", to)
	}
	if n, err := h.ReadAt(t.Context(), make([]byte, 100), 0); err == nil {
		t.Errorf("%d bytes more of the damaged object", n)
	}
	readAfterRevocation(t, c, one, use)
}

// That a file cannot be opened at the moment says nothing against it.
func TestNoDescriptorsIsNoDamage(t *testing.T) {
	one, two := makeContent(t, 308, 100*kib), makeContent(t, 309, 100*kib)
	dir := t.TempDir()
	c := open(t, dir, cache.Options{})
	origin := newFar(one, two)
	use := cache.Use{Origin: origin}
	mustRead(t, c, one, use)
	mustRead(t, c, two, use)
	if err := c.Pin([]annex.Key{two.key}); err != nil {
		t.Fatal(err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 3, Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	var errs []error
	for _, x := range []content{one, two, one} {
		_, err := readAll(c, x.key, use)
		errs = append(errs, err, c.Verify(t.Context(), x.key))
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	for _, err := range errs {
		if !errors.Is(err, syscall.EMFILE) {
			t.Errorf("without descriptors: %v", err)
		}
	}
	mustRead(t, c, one, use)
	mustRead(t, c, two, use)
	if n := origin.count(one.key) + origin.count(two.key); n != 2 {
		t.Errorf("fetched %d times", n)
	}
}

// A pinned object that is damaged is set aside, not deleted, and what is set
// aside is on the books, also after a restart.
func TestDamagedPinIsSetAside(t *testing.T) {
	one := makeContent(t, 310, 100*kib)
	dir := t.TempDir()
	c := open(t, dir, cache.Options{})
	use := cache.Use{Origin: newFar(one)}
	mustRead(t, c, one, use)
	if err := c.Pin([]annex.Key{one.key}); err != nil {
		t.Fatal(err)
	}
	wrong := flipped(one, 9)
	if err := rewrite(filepath.Join(dir, "objects", one.key.ObjectPath()), wrong.data); err != nil {
		t.Fatal(err)
	}
	if err := c.Verify(t.Context(), one.key); !errors.Is(err, cache.ErrMismatch) {
		t.Fatal(err)
	}
	readAfterRevocation(t, c, one, use)
	aside := filepath.Join(dir, "aside", one.key.FileName())
	if got, err := os.ReadFile(aside); err != nil || !bytes.Equal(got, wrong.data) {
		t.Errorf("set aside: %v", err)
	}
	used := c.Status().Used
	c.Close()
	c = open(t, dir, cache.Options{})
	if s := c.Status(); s.Used != used || used < 200*kib {
		t.Errorf("%d bytes on the books, before %d", s.Used, used)
	}
	// It goes when room is needed.
	c.SetBudget(150 * kib)
	if _, err := os.Stat(aside); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is set aside keeps others out: %v", err)
	}
	if !c.State(one.key).Pinned || c.State(one.key).Presence != cache.Cached {
		t.Error("the pinned object is gone")
	}
}

// One object that cannot be removed is passed over.
func TestWhatCannotBeRemovedStopsNobody(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount over a file")
	}
	a, b, d := makeContent(t, 311, 40_960), makeContent(t, 312, 40_960), makeContent(t, 313, 40_960)
	dir := t.TempDir()
	c := open(t, dir, cache.Options{Budget: 2 * 40_960, RoomWait: 5 * time.Second})
	use := cache.Use{Origin: newFar(a, b, d)}
	mustRead(t, c, a, use)
	mustRead(t, c, b, use)
	path := filepath.Join(dir, "objects", a.key.ObjectPath())
	if err := unix.Mount(path, path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(path, unix.MNT_DETACH)
	mustRead(t, c, d, use)
	mustRead(t, c, b, use)
	if s := c.Status(); s.Used > s.Budget {
		t.Errorf("used %d of %d", s.Used, s.Budget)
	}
}

// What cannot be looked at does not keep the cache from being opened.
func TestUnreadableThingsAreNoReasonNotToStart(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be somebody else for a moment")
	}
	one, two := makeContent(t, 314, 100*kib), makeContent(t, 315, 100*kib)
	dir := t.TempDir()
	ledger := &memory{}
	c := open(t, dir, cache.Options{Ledger: ledger})
	mustRead(t, c, one, cache.Use{Origin: newFar(one)})
	mustRead(t, c, two, cache.Use{Origin: newFar(two)})
	c.Close()
	other := filepath.Join(dir, "objects", one.key.ObjectPath())
	const nobody = 65534
	if err := filepath.WalkDir(filepath.Dir(dir), func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, nobody, nobody))
	}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(other, 0), os.Lchown(other, 0, 0), os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{filepath.Dir(filepath.Dir(dir)), filepath.Dir(dir)} {
		os.Chmod(d, 0o755)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	unix.Setfsuid(nobody)
	defer unix.Setfsuid(0)
	c, err := cache.Open(dir, cache.Options{Floor: -1, Ledger: ledger})
	unix.Setfsuid(0)
	if err != nil {
		t.Fatalf("one unreadable object: %v", err)
	}
	defer c.Close()
	mustRead(t, c, two, cache.Use{})
}

// A panic, in whatever it is, ends one transfer.
func TestPanicEndsOneTransfer(t *testing.T) {
	one, two := makeContent(t, 316, 3*mib), makeContent(t, 317, 100*kib)
	dir := t.TempDir()
	c := open(t, dir, cache.Options{})
	boom := func(int64, int64, io.Writer) error { panic("boom") }
	for how, origin := range map[string]cache.Origin{
		"fetch":   sources(scripted{"s", boom}),
		"place":   sources(placing{scripted{"s", boom}}),
		"sources": &far{sources: func(annex.Key) ([]cache.Source, error) { panic("boom") }},
		"half": sources(scripted{"s", func(off, n int64, w io.Writer) error {
			w.Write(one.data[off : off+n/2])
			panic("boom")
		}}),
	} {
		h, err := c.Open(one.key, cache.Use{Origin: origin, Dataset: how})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if _, err := h.ReadAt(ctx, make([]byte, 100), 3*mib-100); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", how, err)
		}
		cancel()
		h.Close()
	}
	mustRead(t, c, two, cache.Use{Origin: newFar(two)})
	mustRead(t, c, one, cache.Use{Origin: newFar(one)})
	s := settle(t, c)
	for i := 0; i < 1000 && s.Partials > 0; i++ { // what is of no more use goes soon
		time.Sleep(time.Millisecond)
		s = c.Status()
	}
	if s.Used != diskUse(dir) || s.Objects != 2 || s.Partials != 0 {
		t.Errorf("%+v; on disk %d", s, diskUse(dir))
	}
}

// What failed is not remembered for ever.
func TestFailuresAreForgotten(t *testing.T) {
	c := open(t, t.TempDir(), cache.Options{FailureTTL: time.Nanosecond})
	for i := range 200 {
		one := makeContent(t, uint64(2000+i), 1000)
		readAll(c, one.key, cache.Use{Origin: sources(scripted{"s", func(int64, int64, io.Writer) error { return errors.New("no") }})})
	}
	for range 1000 {
		if cache.Objects(c) == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d objects are remembered", cache.Objects(c))
}

// A transfer that goes on without a reader ends when another dataset's sources
// have brought the object, also while its own send nothing.
func TestObjectThatOthersBroughtEndsATransfer(t *testing.T) {
	one := makeContent(t, 61, 3*mib)
	stuck, good := newFar(), newFar(one)
	stuck.do = func(ctx context.Context, _ annex.Key, off, n int64, w io.Writer) error {
		if end := min(off+n, 5*mib/2); off < end {
			if _, err := w.Write(one.data[off:end]); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return ctx.Err()
	}
	c := open(t, t.TempDir(), cache.Options{})
	h := mustOpen(t, c, one.key, cache.Use{Origin: stuck, Dataset: "a", Name: "one"})
	h.ReadThrough()
	for off := 0; off < 2*mib; off += 64 * kib {
		mustReadAt(t, h, one, off, 64*kib)
	}
	h.Close()
	if len(c.Status().Transfers) == 0 {
		t.Fatal("nobody brings the rest")
	}
	mustRead(t, c, one, cache.Use{Origin: good, Dataset: "b", Name: "one"})
	settle(t, c)
}
