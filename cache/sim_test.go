package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// The simulation: a script of operations, drawn at random and made shorter
// when it fails, is carried out on a cache whose disk, sources and kernel are
// models, with a clock of its own. Everything that waits takes part in
// it: at each end of a hold of the cache's lock somebody else may go on.
//
// After each step: what was read is the content, or what an exact source of
// the reader's own dataset sent; whoever reads a file from its start to its end
// has the content; no published inode was changed; the disk holds no more than
// the budget; no rule of the object's phases was broken. In the end, with
// everything healthy again, each key can be read, pins are there, the kernel
// keeps nothing wrong, and the books agree with the disk.

// simStep is one operation of a script. What it does with its numbers is its
// own business.
type simStep struct {
	Do      string
	A, B, C int
}

var simOps = []string{
	"read", "read", "read", "read", "read", "through", "through", "header", "fetch", "fetch", "leave",
	"close", "pin", "pin", "pin", "unpin", "drop", "dropkey", "verify", "budget", "sources", "sources", "disk", "disk", "harm",
	"sleep", "sleep", "sleep", "restart", "kill", "powercut",
}

func drawStep(t *rapid.T) simStep {
	return simStep{
		Do: rapid.SampledFrom(simOps).Draw(t, "do"),
		A:  rapid.IntRange(0, 999).Draw(t, "a"), B: rapid.IntRange(0, 999).Draw(t, "b"), C: rapid.IntRange(0, 999).Draw(t, "c"),
	}
}

// TestSimulation runs for UNIHARMONYFS_TEST_SIMULATION (a duration), else for
// some seconds. A failure prints the script, and the seed that draws it again
// (-rapid.seed).
func TestSimulation(t *testing.T) {
	lasting := 8 * time.Second
	if testing.Short() {
		lasting = 2 * time.Second
	}
	if s := os.Getenv("UNIHARMONYFS_TEST_SIMULATION"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatal(err)
		}
		lasting = d
	}
	contents := simContents()
	until := time.Now().Add(lasting)
	runs := 0
	for time.Now().Before(until) {
		rapid.Check(t, func(rt *rapid.T) {
			if time.Now().After(until) {
				return
			}
			seed := rapid.Uint64().Draw(rt, "schedule")
			steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 40).Draw(rt, "steps")
			runs++
			if problems := simulate(t, contents, seed, steps); len(problems) > 0 {
				rt.Fatalf("%s\nschedule %d, steps %+v", strings.Join(problems, "\n"), seed, steps)
			}
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d scripts", runs)
}

type simContent struct {
	key   annex.Key
	right []byte
	wrong []byte // what a liar has
}

// simContents are few, so that everything happens to the same ones.
func simContents() (all []simContent) {
	for i, n := range []int{0, 5000, 70 << 10, 1<<20 + 5, 3 << 20} {
		data := make([]byte, n)
		rand.NewChaCha8([32]byte{byte(i)}).Read(data)
		key, err := annex.ParseKey(fmt.Sprintf("SHA256E-s%d--%x.nii.gz", n, sha256.Sum256(data)))
		if err != nil {
			panic(err)
		}
		wrong := bytes.Clone(data)
		for at := 10; at < n; at += 4093 {
			wrong[at] ^= 1
		}
		all = append(all, simContent{key, data, wrong})
	}
	return all
}

// world is all that the cache sees.
type world struct {
	mu       sync.Mutex
	problems []string
	rnd      *rand.Rand
	contents []simContent

	disk    *simDisk
	cache   *Cache
	ledger  map[annex.Key]Record
	kernel  map[string]*simPages // by dataset and key
	sources map[string]*simMood  // by dataset
	pinned  map[annex.Key]bool   // acknowledged
	rotten  map[annex.Key][][]byte
	lied    map[string]bool    // by dataset and key: an exact source sent wrong bytes
	harmed  map[annex.Key]bool // and the cache may not know it yet
	kept    map[annex.Key]bool // pinned, there, and unharmed since
	handles []*simHandle
	slack   bool // the budget was made smaller than what cannot be evicted
	readers sync.WaitGroup
}

// simPages are what the kernel keeps of a file.
type simPages struct {
	reads   chan struct{} // a token for each read, all for a revocation, which waits for reads
	revokes disk.Turn
	mu      sync.Mutex
	pages   map[int64][]byte
}

const simReads = 64

func (p *simPages) RLock()   { p.reads <- struct{}{} }
func (p *simPages) RUnlock() { <-p.reads }

func (p *simPages) Lock() {
	p.revokes.Lock()
	for range simReads {
		p.RLock()
	}
}

func (p *simPages) Unlock() {
	for range simReads {
		p.RUnlock()
	}
	p.revokes.Unlock()
}

// simMood is how a dataset's sources are today.
type simMood struct {
	outage, final, short, late, hang, panics int // percent
	lies                                     bool
	kind                                     int // exact, inexact, whole only, placer, both
}

type simHandle struct {
	*Handle
	content simContent
	dataset string
	strict  bool
	ctx     context.Context
	cancel  context.CancelFunc
	busy    sync.WaitGroup
}

func (w *world) broken(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.problems) < 5 {
		w.problems = append(w.problems, fmt.Sprintf(format, args...))
	}
}

func (w *world) intn(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rnd.IntN(n)
}

func simulate(t *testing.T, contents []simContent, seed uint64, steps []simStep) (problems []string) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			rnd: rand.New(rand.NewPCG(seed, 1)), contents: contents,
			kernel: map[string]*simPages{}, sources: map[string]*simMood{"good": {}, "evil": {}},
			pinned: map[annex.Key]bool{}, rotten: map[annex.Key][][]byte{}, ledger: map[annex.Key]Record{},
			lied: map[string]bool{}, kept: map[annex.Key]bool{}, harmed: map[annex.Key]bool{},
		}
		yields := rand.New(rand.NewPCG(seed, 3))
		var ymu sync.Mutex
		afterUnlock = func() {
			ymu.Lock()
			n, d := yields.IntN(10), yields.IntN(2000)
			ymu.Unlock()
			if n == 0 {
				time.Sleep(time.Duration(d) * time.Microsecond)
			}
		}
		defer func() { afterUnlock = nil }()
		w.disk = newSimDisk(seed, 64<<20)
		w.disk.MkdirAll("/c", 0o700)
		w.open(6 << 20)
		for _, s := range steps {
			w.step(s)
			w.check()
			if len(w.problems) > 0 {
				break
			}
		}
		w.heal()
		problems = w.problems
	})
	return problems
}

const simDir = "/c"

func (w *world) open(budget int64) {
	w.disk.broken = w.broken
	c, err := Open(simDir, Options{
		Budget: budget, Floor: -1, Requests: 4, RoomWait: 2 * time.Second, FailureTTL: 100 * time.Millisecond,
		Ledger: w, Revoke: w.revoke, disk: w.disk,
	})
	if err != nil {
		w.broken("open: %v", err)
		return
	}
	w.cache = c
	d := w.disk
	d.limit = func() int64 {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.slack {
			return -1
		}
		return budget + 64<<10 // the pins' files
	}
}

// Load and Save make the world a Ledger.
func (w *world) Load(fn func(Record)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.ledger {
		fn(r)
	}
	return nil
}

func (w *world) Save(put []Record, del []annex.Key) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rnd.IntN(8) == 0 {
		return errors.New("the index is not to be written")
	}
	for _, k := range del {
		delete(w.ledger, k)
	}
	for _, r := range put {
		w.ledger[r.Key] = r
	}
	return nil
}

func (w *world) pagesOf(dataset string, key annex.Key) *simPages {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := dataset + " " + key.String()
	if w.kernel[id] == nil {
		w.kernel[id] = &simPages{reads: make(chan struct{}, simReads), revokes: disk.NewTurn(), pages: map[int64][]byte{}}
	}
	return w.kernel[id]
}

func (w *world) revoke(key annex.Key, dataset string) {
	for _, d := range []string{"good", "evil"} {
		if dataset == "" || dataset == d {
			p := w.pagesOf(d, key)
			p.Lock()
			clear(p.pages)
			p.Unlock()
		}
	}
}

// simOrigin is a dataset's sources.
type simOrigin struct {
	w       *world
	dataset string
}

func (o simOrigin) mood() simMood {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	return *o.w.sources[o.dataset]
}

func (o simOrigin) Sources(ctx context.Context, key annex.Key) ([]Source, error) {
	m := o.mood()
	if o.w.intn(200) < m.outage {
		return nil, source.Outage(errors.New("the list is out of reach"))
	}
	i := slices.IndexFunc(o.w.contents, func(c simContent) bool { return c.key == key })
	s := simSource{o: o, c: o.w.contents[i], exact: true}
	inexact, placer := s, simPlacer{s}
	inexact.exact = false
	switch m.kind {
	case 1:
		return []Source{inexact}, nil
	case 2:
		s.whole = true
		return []Source{s}, nil
	case 3:
		return []Source{placer}, nil
	case 4:
		return []Source{s, placer}, nil
	}
	return []Source{s, inexact}, nil
}

type simSource struct {
	o            simOrigin
	c            simContent
	exact, whole bool
}

func (s simSource) String() string {
	return fmt.Sprintf("%s exact=%v whole=%v", s.o.dataset, s.exact, s.whole)
}
func (s simSource) Exact() bool { return s.exact }

func (s simSource) Fetch(ctx context.Context, off, n int64, to io.Writer) error {
	w, m := s.o.w, s.o.mood()
	if s.whole && n < int64(len(s.c.right)) {
		return source.ErrWholeOnly
	}
	data := s.c.right
	if m.lies {
		data = s.c.wrong
	}
	for end := off + n; off < end; {
		switch p := w.intn(100); {
		case p < m.outage:
			return source.Outage(errors.New("out of reach"))
		case p < m.outage+m.final:
			return errors.New("404")
		case p < m.outage+m.final+m.short:
			return nil
		case p < m.outage+m.final+m.short+m.late:
			go func() {
				time.Sleep(time.Millisecond)
				to.Write(s.c.wrong[off:end])
			}()
			return source.Outage(errors.New("broken off"))
		case p < m.outage+m.final+m.short+m.late+m.panics:
			panic("a source's defect")
		}
		step := min(end-off, int64(1+w.intn(300<<10)))
		wait := time.Duration(w.intn(3000)) * time.Microsecond
		if w.intn(100) < m.hang {
			wait = time.Minute
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		if m.lies && s.exact {
			w.mu.Lock()
			w.lied[s.o.dataset+" "+s.c.key.String()] = true
			w.mu.Unlock()
		}
		if _, err := to.Write(data[off : off+step]); err != nil {
			return err
		}
		off += step
	}
	return nil
}

type simPlacer struct{ simSource }

func (s simPlacer) String() string { return "placer of " + s.simSource.String() }

func (s simPlacer) Place(ctx context.Context, path string, progress func(int64)) error {
	f, err := s.o.w.disk.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	at := &placeWriter{f: f, size: int64(len(s.c.right)), progress: progress}
	return s.Fetch(ctx, 0, int64(len(s.c.right)), at)
}

func (w *world) step(s simStep) {
	c := w.contents[s.A%len(w.contents)]
	dataset := []string{"good", "good", "evil"}[s.B%3]
	switch s.Do {
	case "read", "through", "header", "fetch":
		w.begin(s, c, dataset)
	case "leave", "close":
		if len(w.handles) > 0 {
			i := s.A % len(w.handles)
			h := w.handles[i]
			h.cancel()
			if s.Do == "close" {
				h.busy.Wait()
				h.Close()
				w.handles = slices.Delete(w.handles, i, i+1)
			} else {
				h.ctx, h.cancel = context.WithCancel(context.Background())
			}
		}
	case "pin":
		if w.cache.Pin([]annex.Key{c.key}) == nil {
			w.pinned[c.key] = true
		}
	case "unpin":
		w.cache.Unpin([]annex.Key{c.key}) // should it fail, it may have happened
		delete(w.pinned, c.key)
		delete(w.kept, c.key)
	case "drop":
		w.cache.Drop(nil)
	case "dropkey":
		w.cache.DropKey(c.key, dataset)
	case "verify":
		w.cache.Verify(context.Background(), c.key)
	case "budget":
		budget := int64(1+s.B%8) << 20
		w.mu.Lock()
		w.slack = true
		w.mu.Unlock()
		w.cache.SetBudget(budget)
	case "sources":
		w.setSources(dataset, s)
	case "disk":
		w.disk.mu.Lock()
		w.disk.mood = diskMood{}
		if s.A%3 > 0 {
			p := []int{0, 0, 5, 30}
			w.disk.mood = diskMood{open: p[s.A%4], read: p[s.B%4], write: p[s.C%4], full: p[(s.A/4)%4], sync: p[(s.B/4)%4], remove: p[(s.C/4)%4]}
		}
		if s.C%2 == 0 {
			w.disk.mood.slow = 20 * time.Millisecond
		}
		w.disk.mu.Unlock()
	case "harm":
		w.harm(c, s)
	case "sleep":
		time.Sleep(time.Duration(s.B) * 4 * time.Millisecond)
	case "restart":
		w.restart(false, false)
	case "kill":
		w.restart(true, false)
	case "powercut":
		w.restart(true, true)
	}
}

func (w *world) setSources(dataset string, s simStep) {
	p := []int{0, 0, 0, 3, 20, 100}
	m := &simMood{outage: p[s.A%6], final: p[(s.A/6)%5], short: p[(s.A/30)%5], late: p[(s.B/3)%5], hang: p[(s.B/15)%4], kind: s.C % 5}
	if s.C%17 == 0 {
		m.panics = 10
	}
	m.lies = (s.C/5)%3 == 0
	w.mu.Lock()
	w.sources[dataset] = m
	w.mu.Unlock()
}

func (w *world) harm(c simContent, s simStep) {
	how := []string{"rot", "change", "cut", "remove"}[s.B%4]
	path := filepath.Join(simDir, "objects", c.key.ObjectPath())
	rnd := rand.New(rand.NewPCG(uint64(s.C), 5))
	before := w.disk.bytesOf(path)
	if !w.disk.harm(path, how, rnd) {
		return
	}
	delete(w.kept, c.key)
	w.harmed[c.key] = true
	if how == "rot" || how == "change" {
		// Whoever has it open may read it, until it is looked at.
		w.mu.Lock()
		w.rotten[c.key] = append(w.rotten[c.key], w.disk.bytesOf(path), before)
		w.mu.Unlock()
	}
	if how == "rot" {
		w.cache.Verify(context.Background(), c.key)
	}
}

func (d *simDisk) bytesOf(path string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.nodes[path]
	if n == nil {
		return nil
	}
	b := make([]byte, n.size)
	n.readAt(b, 0)
	return b
}

// begin opens a file, or takes one that is open, and reads in the background.
func (w *world) begin(s simStep, c simContent, dataset string) {
	use := Use{
		Origin: simOrigin{w, dataset}, Dataset: dataset, Owner: dataset, Name: "x",
		Strict: s.C%5 == 0, NoReadAhead: s.C%2 == 0, Speculative: s.Do == "header",
		Patience: []time.Duration{0, time.Second, time.Minute}[s.C%3],
	}
	if s.Do == "header" || s.Do == "fetch" {
		bring := w.cache.Fetch
		if s.Do == "header" {
			bring = w.cache.PrefetchHeader
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		w.readers.Go(func() {
			defer cancel()
			bring(ctx, c.key, use)
		})
		return
	}
	h, err := w.cache.Open(c.key, use)
	if err != nil {
		w.broken("open a file: %v", err)
		return
	}
	sh := &simHandle{Handle: h, content: c, dataset: dataset, strict: use.Strict}
	sh.ctx, sh.cancel = context.WithCancel(context.Background())
	w.handles = append(w.handles, sh)
	ctx := sh.ctx
	seed := uint64(s.A)<<32 | uint64(s.B)<<16 | uint64(s.C)
	sh.busy.Go(func() {
		if s.Do == "through" {
			w.readThrough(ctx, sh)
		} else {
			rnd := rand.New(rand.NewPCG(seed, 9))
			for range 1 + rnd.IntN(12) {
				if w.readSome(ctx, sh, rnd.Int64N(int64(len(c.right))+1), 1+rnd.IntN(128<<10)) != nil {
					return
				}
			}
		}
	})
}

// readThrough reads from the start to the end. Then every byte is right.
func (w *world) readThrough(ctx context.Context, h *simHandle) {
	var got []byte
	for off := int64(0); off < int64(len(h.content.right)); {
		b := make([]byte, 100<<10)
		n, err := h.ReadAt(ctx, b, off)
		if err != nil && err != io.EOF {
			return
		}
		got = append(got, b[:n]...)
		off += int64(n)
	}
	if !bytes.Equal(got, h.content.right) && !w.wasRotten(h.content.key) {
		w.broken("%s: read from start to end, and wrong", h.content.key)
	}
}

func (w *world) wasRotten(key annex.Key) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.rotten[key]) > 0
}

// readSome reads as the kernel does: by pages, which it keeps.
func (w *world) readSome(ctx context.Context, h *simHandle, off int64, n int) error {
	pages := w.pagesOf(h.dataset, h.content.key)
	pages.RLock()
	defer pages.RUnlock()
	first := off / disk.Block * disk.Block
	end := min(off+int64(n), int64(len(h.content.right)))
	for at := first; at < end; at += 16 * disk.Block {
		b := make([]byte, 16*disk.Block)
		got, err := h.ReadAt(ctx, b, at)
		if err != nil && err != io.EOF {
			return err
		}
		want := min(int64(len(b)), int64(len(h.content.right))-at)
		if int64(got) != want {
			w.broken("%s: %d bytes at %d, want %d", h.content.key, got, at, want)
		}
		w.judge(h, b[:got], at)
		pages.mu.Lock()
		pages.pages[at] = b[:got]
		pages.mu.Unlock()
	}
	return nil
}

// judge compares what was read with what may be read.
func (w *world) judge(h *simHandle, got []byte, at int64) {
	c := h.content
	right, wrong := c.right[at:at+int64(len(got))], c.wrong[at:at+int64(len(got))]
	w.mu.Lock()
	rotten := w.rotten[c.key]
	mayLie := !h.strict && int64(len(c.right)) > 1<<20 && w.lied[h.dataset+" "+c.key.String()]
	w.mu.Unlock()
	for i := range got {
		ok := got[i] == right[i] || mayLie && got[i] == wrong[i]
		for _, r := range rotten {
			ok = ok || int64(len(r)) > at+int64(i) && got[i] == r[at+int64(i)]
		}
		if !ok {
			w.broken("%s, dataset %s, strict %v: byte %d is %d, not %d", c.key, h.dataset, h.strict, at+int64(i), got[i], right[i])
			return
		}
	}
}

func (w *world) check() {
	s := w.cache.Status()
	w.mu.Lock()
	slack := w.slack
	w.mu.Unlock()
	if s.Used < 0 || s.Reserved < 0 || !slack && s.Used+s.Reserved > s.Budget {
		w.broken("used %d + reserved %d of %d", s.Used, s.Reserved, s.Budget)
	}
	if n := w.defects(); n > 0 {
		w.broken("%d rules of the phases were broken", n)
	}
	for _, c := range w.contents {
		if w.cache.State(c.key).Presence == Missing {
			delete(w.harmed, c.key) // the cache knows
		}
		here := w.pinned[c.key] && !w.harmed[c.key] && w.isPresent(c.key)
		if w.kept[c.key] && w.cache.State(c.key).Presence != Cached {
			w.broken("%s was pinned and whole, and is gone", c.key)
		}
		w.kept[c.key] = w.kept[c.key] || here
	}
	for k := range w.pinned {
		if !w.cache.State(k).Pinned {
			w.broken("%s is not pinned any more", k)
		}
	}
}

func (w *world) isPresent(key annex.Key) (is bool) {
	w.cache.do(func() { is = w.cache.objects[key] != nil && w.cache.objects[key].phase == present })
	return is
}

func (w *world) defects() (n int) {
	w.cache.do(func() { n = w.cache.seen.defects })
	return n
}

// restart ends the cache and opens it again: in order, or as a killed process
// leaves it, or a power cut.
func (w *world) restart(kill, powerCut bool) {
	budget := w.cache.Budget()
	next := w.disk
	if kill {
		next = w.disk.clone(powerCut)
	}
	for _, h := range w.handles {
		h.cancel()
	}
	if err := w.cache.Close(); err != nil && !kill && w.disk.moodNow() == (diskMood{}) && !strings.Contains(err.Error(), "not to be written") {
		w.broken("close: %v", err)
	}
	for _, h := range w.handles {
		h.busy.Wait()
		h.Close()
	}
	w.readers.Wait()
	w.handles = nil
	w.mu.Lock()
	w.kernel = map[string]*simPages{} // its mounts are gone
	if powerCut {
		w.slack = true // blocks that nobody knows of
		clear(w.kept)
	}
	w.mu.Unlock()
	w.disk = next
	mood := next.moodNow()
	next.mu.Lock()
	next.mood = diskMood{slow: mood.slow}
	next.mu.Unlock()
	w.open(budget)
}

// heal makes everything healthy, and looks whether the cache is.
func (w *world) heal() {
	w.disk.mu.Lock()
	w.disk.mood = diskMood{}
	w.disk.mu.Unlock()
	w.mu.Lock()
	w.sources = map[string]*simMood{"good": {}, "evil": {}}
	w.slack = true
	w.mu.Unlock()
	for _, h := range w.handles {
		h.cancel()
		h.busy.Wait()
		h.Close()
	}
	w.readers.Wait()
	w.cache.SetBudget(32 << 20)
	time.Sleep(time.Minute)
	for _, c := range w.contents {
		for _, dataset := range []string{"good", "evil"} {
			w.becomesReadable(c, dataset)
		}
		if w.pinned[c.key] && w.cache.State(c.key).Presence != Cached {
			w.broken("%s is pinned, was read, and is not there", c.key)
		}
	}
	time.Sleep(time.Minute)
	w.atRest()
	if err := w.cache.Close(); err != nil && !strings.Contains(err.Error(), "not to be written") {
		w.broken("close: %v", err)
	}
}

// becomesReadable reads a whole file, again and again for some minutes at most:
// whatever happened before must not stand in its way for longer.
func (w *world) becomesReadable(c simContent, dataset string) {
	var err error
	for range 120 {
		use := Use{Origin: simOrigin{w, dataset}, Dataset: dataset, Owner: dataset, Strict: true}
		var h *Handle
		if h, err = w.cache.Open(c.key, use); err != nil {
			break
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		b := make([]byte, len(c.right))
		_, err = h.ReadAt(ctx, b, 0)
		cancel()
		h.Close()
		if err == nil || err == io.EOF {
			if len(b) == 0 { // nothing needs to be fetched for that
				if err := w.cache.Fetch(context.Background(), c.key, use); err != nil {
					w.broken("%s: %v", c.key, err)
				}
			}
			if !bytes.Equal(b, c.right) {
				w.broken("%s: wrong bytes for a strict reader", c.key)
			}
			return
		}
		time.Sleep(5 * time.Second)
	}
	w.broken("%s cannot be read for %s, though everything is healthy: %v", c.key, dataset, err)
}

// atRest compares the books with the disk and the kernel with the truth.
func (w *world) atRest() {
	for range 50 {
		if s := w.cache.Status(); len(s.Transfers) == 0 && s.Reserved == 0 {
			break
		}
		time.Sleep(time.Second)
	}
	s := w.cache.Status()
	on := w.disk.below("/c/objects", "/c/partial", "/c/aside")
	if s.Reserved != 0 || len(s.Transfers) != 0 || s.Used != on {
		w.broken("at rest: used %d, reserved %d, %d transfers; on the disk %d:\n%s\n%s", s.Used, s.Reserved, len(s.Transfers), on, w.onBooks(), w.onDisk())
	}
	if n := w.cache.queue.Used(); n != 0 {
		w.broken("at rest: %d turns are taken", n)
	}
	var unmade, waiting, pinned int64
	w.cache.do(func() {
		unmade, waiting = w.cache.books.unmade, int64(len(w.cache.books.waiting))
		for _, o := range w.cache.objects {
			if w.cache.pinned[o.key] {
				for _, i := range o.items() {
					if i.kind != asideItem {
						pinned += i.blocks
					}
				}
			}
			if len(o.handles) > 0 || o.revocations.Load() != 0 || o.publishing != nil {
				w.broken("at rest: %s has %d handles, %d revocations", o.key, len(o.handles), o.revocations.Load())
			}
		}
		if pinned != w.cache.books.pinned {
			w.broken("at rest: %d bytes are pinned, the books say %d", pinned, w.cache.books.pinned)
		}
	})
	if unmade != 0 || waiting != 0 {
		w.broken("at rest: %d bytes are to be allocated, %d wait for room", unmade, waiting)
	}
	for id, p := range w.kernel {
		for _, c := range w.contents {
			if !strings.HasSuffix(id, c.key.String()) {
				continue
			}
			for at, page := range p.pages {
				if !bytes.Equal(page, c.right[at:at+int64(len(page))]) {
					w.broken("the kernel keeps wrong bytes of %s at %s", id, strconv.FormatInt(at, 10))
				}
			}
		}
	}
}

func (w *world) onBooks() string {
	var b strings.Builder
	w.cache.do(func() {
		for _, o := range w.cache.objects {
			fmt.Fprintf(&b, "%v %v file %d aside %d;", o.key, o.phase, o.file.blocks, o.aside.blocks)
			for dataset, f := range o.fills {
				fmt.Fprintf(&b, " %s %d;", dataset, f.item.blocks)
			}
		}
	})
	return b.String()
}

func (w *world) onDisk() string {
	w.disk.mu.Lock()
	defer w.disk.mu.Unlock()
	var b strings.Builder
	for path, n := range w.disk.nodes {
		if !n.dir {
			fmt.Fprintf(&b, "%s %d; ", path, len(n.blocks)*disk.Block)
		}
	}
	return b.String()
}
