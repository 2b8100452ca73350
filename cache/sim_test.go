package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/uniharmony/uniharmonyfs/cache/internal/shelf"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
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

// TestSimulation runs for UNIHARMONYFS_TEST_LONG (a duration), else for a
// minute. A failure prints the script, and the seed that draws it again
// (-rapid.seed).
func TestSimulation(t *testing.T) {
	lasting := time.Minute
	if testing.Short() {
		lasting = 2 * time.Second
	}
	if s := os.Getenv("UNIHARMONYFS_TEST_LONG"); s != "" {
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

// TestSimulationOfFinds runs the scripts that have found something, as they were
// printed then.
func TestSimulationOfFinds(t *testing.T) {
	files, _ := filepath.Glob("testdata/scripts/*.txt")
	if len(files) == 0 {
		t.Fatal("there is none")
	}
	step := regexp.MustCompile(`\{Do:(\w+) A:(\d+) B:(\d+) C:(\d+)\}`)
	contents := simContents()
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var seed uint64
		if _, err := fmt.Sscanf(string(text), "schedule %d,", &seed); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var steps []simStep
		for _, m := range step.FindAllStringSubmatch(string(text), -1) {
			var n [3]int
			for i := range n {
				n[i], _ = strconv.Atoi(m[2+i])
			}
			steps = append(steps, simStep{Do: m[1], A: n[0], B: n[1], C: n[2]})
		}
		for range 3 {
			if problems := simulate(t, contents, seed, steps); len(problems) > 0 {
				t.Fatalf("%s: %s", name, strings.Join(problems, "\n"))
			}
		}
	}
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
		shelf.AfterUnlock = func() {
			ymu.Lock()
			n, d := yields.IntN(10), yields.IntN(2000)
			ymu.Unlock()
			if n == 0 {
				time.Sleep(time.Duration(d) * time.Microsecond)
			}
		}
		defer func() { shelf.AfterUnlock = nil }()
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
		Ledger: w, Revoke: w.revoke, disk: w.disk, window: 512 << 10,
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
	if s.B%4 < 2 && w.cache.State(c.key).Presence != Cached {
		return // it is just being published, or could not be looked at when the cache started
	}
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
		// Nothing tells of it but a look at all: one that has not begun before,
		// and on a disk that lets it come to its end.
		mood := w.disk.setMood(diskMood{})
		for range 2 {
			w.cache.Verify(context.Background(), c.key)
		}
		w.disk.setMood(mood)
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
