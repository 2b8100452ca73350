package dataset_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset"
	"github.com/uniharmony/uniharmonyfs/internal/dataset/datasettest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// again is an age that everything has.
const again = time.Nanosecond

// shelf is where datasets are published, and a cache for catalogs of them.
type shelf struct {
	*datasettest.Cache
	t      *testing.T
	server *publisher.Server
	asked  atomic.Int32 // how many requests git has made
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	server, err := publisher.New(publisher.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	s := &shelf{Cache: datasettest.New(t, 0), t: t, server: server}
	server.SetGitFault(func(publisher.Request) publisher.Fault { s.asked.Add(1); return nil })
	return s
}

// publish publishes a dataset that says what it is, with all of its commits tagged by that.
func (s *shelf) publish(name string, says ...string) *maker.Made {
	s.t.Helper()
	d := maker.Dataset{Name: name}
	for i, what := range says {
		files := []maker.File{{Path: "README", Data: []byte(what)}}
		if i == len(says)-1 {
			d.Files, d.Tags = files, []string{what}
		} else {
			d.Earlier = append(d.Earlier, maker.Version{Tag: what, Files: files})
		}
	}
	return datasettest.PublishAt(s.t, s.server, d)
}

// super publishes a superdataset, or the next commit of one.
func (s *shelf) super(name string, members map[string]*maker.Made) string {
	s.t.Helper()
	return s.server.GitURL(datasettest.PublishAt(s.t, s.server, datasettest.Super(name, members)))
}

func (s *shelf) request() control.Dataset {
	return control.Dataset{Template: s.server.URL + "/git/{id}.git", Fetcher: "native", AllowAddresses: []string{"127.0.0.1"}}
}

func (s *shelf) catalog(specs ...string) *dataset.Catalog {
	s.t.Helper()
	c, err := s.Datasets.Catalog(s.t.Context(), s.request(), specs, new(datasettest.Told).Tell)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Release)
	return c
}

func (s *shelf) refresh(c *dataset.Catalog, came bool) {
	s.t.Helper()
	if got, err := c.Refresh(s.t.Context(), again); got != came || err != nil {
		s.t.Errorf("refreshed: %v, %v", got, err)
	}
}

// says checks what a dataset says of itself.
func (s *shelf) says(c *dataset.Catalog, name, want string) {
	s.t.Helper()
	v, err := c.Open(s.t.Context(), name, bids.Selection{}, new(datasettest.Told).Tell)
	if err != nil {
		s.t.Errorf("%q: %v", name, err)
		return
	}
	defer v.Release()
	if got, err := v.ReadNow(s.t.Context(), find(s.t, v, "README")); err != nil || string(got) != want {
		s.t.Errorf("%q says %q, %v", name, got, err)
	}
}

func (s *shelf) fails(c *dataset.Catalog, name string) error {
	s.t.Helper()
	v, err := c.Open(s.t.Context(), name, bids.Selection{}, new(datasettest.Told).Tell)
	if err == nil {
		v.Release()
		s.t.Errorf("%q can be had", name)
	}
	return err
}

func (s *shelf) names(c *dataset.Catalog, want ...string) {
	s.t.Helper()
	if got := c.Names(); !slices.Equal(got, want) {
		s.t.Errorf("the names are %q", got)
	}
}

// What superdatasets have at their roots is listed, each name once: the first that has
// it has it.
func TestNamesOfACatalog(t *testing.T) {
	s := newShelf(t)
	mine, yours := s.publish("mine", "mine"), s.publish("yours", "yours")
	one := s.super("one", map[string]*maker.Made{"yours": mine, "deep/inner": mine, ".hidden": mine, "a@b": mine, "caf\xe9": nil})
	two := s.super("two", map[string]*maker.Made{"mine": mine, "yours": yours})
	c := s.catalog(one, two)
	s.names(c, "caf\xe9", "yours", "mine")
	if root := c.Root(); root.Spec() != one || len(c.LeftOut()) > 0 {
		t.Errorf("the root is %s, %q are left out", root.Spec(), c.LeftOut())
	}
	for name, want := range map[string][2]bool{
		"yours": {true, true}, "caf\xe9": {true, true}, "yours@1": {false, true}, "ds000001": {false, true}, "ds000001@1": {false, true},
		"deep": {}, "inner": {}, ".hidden": {}, "a": {}, "a@b": {}, "yours@": {}, "@": {}, "@1": {}, "": {}, "deep/inner": {}, "ds1": {}, "DS000001": {}, "ds000001\n": {},
	} {
		if listed, possible := c.Has(name); [2]bool{listed, possible} != want {
			t.Errorf("%q: listed %v, possible %v", name, listed, possible)
		}
	}
	s.says(c, "mine", "mine")
	// The repository called yours has not the commit that the first superdataset names.
	if err := s.fails(c, "yours"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of the first superdataset: %v", err)
	}
	s.says(s.catalog(two, one), "yours", "yours")
}

// What cannot be a dataset costs no request, and hostile versions ask for nothing else.
func TestHostileNamesInACatalog(t *testing.T) {
	s := newShelf(t)
	c := s.catalog(s.super("super", map[string]*maker.Made{"listed": s.publish("listed", "x")}))
	s.publish("ds000001", "1.0")
	s.says(c, "ds000001", "1.0")
	s.asked.Store(0)
	for _, name := range []string{"", ".", "..", ".git", "@", "@1.0", "listed@", "ds000001@", "Listed", "listed/", "listed/README", "../listed", "ds00001", "ds0000001", "-listed", "*", strings.Repeat("a", 300), "\xff\xfe"} {
		if err := s.fails(c, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if n := s.asked.Load(); n > 0 {
		t.Errorf("%d requests", n)
	}
	for _, version := range []string{"-x", "--upload-pack=touch x", "*", "1.*", "main:refs/heads/x", "+main", "..", "../1.0", "@{-1}", "HEAD^{tree}", "1.0\n", "1.0 ", "\xff", "@", strings.Repeat("9", 240)} {
		for _, name := range []string{"listed", "ds000001"} {
			if err := s.fails(c, name+"@"+version); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s@%q: %v", name, version, err)
			}
		}
	}
	s.says(c, "ds000001@1.0", "1.0")
}

// Of an accession the newest version is meant, of others the one that the superdataset
// names, and others of both are had by their names.
func TestVersionsInACatalog(t *testing.T) {
	s := newShelf(t)
	ds := s.publish("ds000001", "1.0", "2.0")
	study := s.publish("study", "a", "b")
	named := *study
	named.Commits = study.Commits[:1]
	c := s.catalog(s.super("super", map[string]*maker.Made{"ds000001": nil, "ds000009": nil, "study": &named, "gone": nil}))
	s.says(c, "ds000001", "2.0")
	s.says(c, "ds000001@1.0", "1.0")
	s.says(c, "ds000001@"+ds.Commits[0], "1.0")
	s.says(c, "study", "a")
	s.says(c, "study@b", "b")
	s.says(c, "study@"+study.Commits[1], "b")
	s.publish("ds000002", "unlisted")
	s.says(c, "ds000002", "unlisted")
	s.names(c, "ds000001", "ds000009", "gone", "study")
	// What is listed is told of, and not denied; what is not listed may not be there.
	for name, denied := range map[string]bool{"ds000009": false, "gone": false, "ds000404": true, "ds000001@9": true, "study@9": true, "gone@9": true} {
		if err := s.fails(c, name); errors.Is(err, fs.ErrNotExist) != denied {
			t.Errorf("%s: %v", name, err)
		}
	}
	// An outage denies nothing.
	s.server.SetGitFault(publisher.Always(publisher.Status(503, 0)))
	for _, name := range []string{"ds000003", "ds000001@3.0", "study@c"} {
		if err := s.fails(c, name); errors.Is(err, fs.ErrNotExist) {
			t.Errorf("of an outage: %s: %v", name, err)
		}
	}
	s.says(c, "ds000001", "2.0") // it was looked up a moment ago
	c.Release()
	s.Free(t)
}

func TestCatalogOffline(t *testing.T) {
	s := newShelf(t)
	super := s.super("super", map[string]*maker.Made{"known": s.publish("known", "is known"), "other": s.publish("other", "x")})
	s.publish("ds000001", "1.0", "2.0")
	c := s.catalog(super)
	s.says(c, "known", "is known")
	s.says(c, "ds000001", "2.0")
	c.Release()
	s.asked.Store(0)
	req := s.request()
	req.Offline = true
	c, err := s.Datasets.Catalog(t.Context(), req, []string{super}, new(datasettest.Told).Tell)
	if err != nil {
		t.Fatal(err)
	}
	s.refresh(c, false)
	s.names(c, "known", "other")
	s.says(c, "known", "is known")
	s.says(c, "ds000001", "2.0")
	for _, name := range []string{"other", "ds000001@1.0", "known@1.0", "ds000002"} {
		if known := new(advice.Error); !errors.As(s.fails(c, name), &known) || known.Reason != advice.Offline {
			t.Errorf("%s: %v", name, known)
		}
	}
	if n := s.asked.Load(); n > 0 {
		t.Errorf("%d requests", n)
	}
	c.Release()
	s.Free(t)
}

// New names come at the end and none goes; what the superdataset says of its members is
// what it says now.
func TestRefreshOfACatalog(t *testing.T) {
	s := newShelf(t)
	m := s.publish("m", "first")
	one, two := s.super("one", map[string]*maker.Made{"m": m, "old": m}), s.super("two", map[string]*maker.Made{"both": nil, "z": m})
	c := s.catalog(one, two)
	before := c.Names()
	s.refresh(c, false)
	s.says(c, "m", "first")

	m = s.publish("m", "first", "second")
	s.super("one", map[string]*maker.Made{"m": m, "a": nil, "both": m})
	if came, err := c.Refresh(t.Context(), time.Hour); came || err != nil {
		t.Errorf("what is fresh is looked at again: %v, %v", came, err)
	}
	s.refresh(c, true)
	s.names(c, "m", "old", "both", "z", "a")
	if !slices.Equal(before, []string{"m", "old", "both", "z"}) {
		t.Errorf("a list that was given has become %q", before)
	}
	s.says(c, "m", "second")
	s.refresh(c, false)

	// The first superdataset has the name now, whatever the second says later.
	s.super("two", map[string]*maker.Made{"both": m, "z": m, "y": m})
	s.refresh(c, true)
	s.names(c, "m", "old", "both", "z", "a", "y")
	// That its server is gone changes nothing.
	s.server.SetGitFault(publisher.Always(publisher.Drop(-1)))
	s.refresh(c, false)
	if len(c.LeftOut()) > 0 {
		t.Errorf("left out: %q", c.LeftOut())
	}
	s.names(c, "m", "old", "both", "z", "a", "y")
	c.Release()
	c.Release()
	s.Free(t)
}

// A superdataset that cannot be had is told of, and comes when it can be.
func TestLeftOutOfACatalog(t *testing.T) {
	s := newShelf(t)
	m := s.publish("m", "x")
	here := s.super("here", map[string]*maker.Made{"m": m, "here": nil})
	late := strings.Replace(here, "here.git", "late.git", 1)
	for _, specs := range [][]string{{late}, {late, "/nowhere"}, {"ext::sh -c true"}} {
		if c, err := s.Datasets.Catalog(t.Context(), s.request(), specs, new(datasettest.Told).Tell); c != nil || err == nil {
			t.Errorf("%q: %v, %v", specs, c, err)
		}
	}
	c := s.catalog(late, here)
	root := c.Root()
	if left := c.LeftOut(); len(left) != 1 || !strings.Contains(left[0], late) || root.Spec() != here {
		t.Errorf("left out: %q, the root is %s", left, root.Spec())
	}
	s.refresh(c, false)
	s.super("late", map[string]*maker.Made{"late": nil, "m": nil})
	s.refresh(c, true)
	s.names(c, "here", "m", "late")
	if len(c.LeftOut()) > 0 || c.Root() != root {
		t.Errorf("left out: %q, the root is %s", c.LeftOut(), c.Root().Spec())
	}
	// It is the first, so the name is its from now on.
	s.fails(c, "m")
	// Without a dataset there is no catalog.
	plain := s.super("plain", nil)
	if _, err := s.Datasets.Catalog(t.Context(), s.request(), []string{plain}, new(datasettest.Told).Tell); err == nil || !strings.Contains(err.Error(), "no datasets at the root") {
		t.Errorf("without datasets: %v", err)
	}
	c.Release()
	s.Free(t)
}

// Everything is asked at once, while datasets come.
func TestCatalogIsSafeForConcurrentUse(t *testing.T) {
	s := newShelf(t)
	m := s.publish("m", "x")
	members := map[string]*maker.Made{"m": m}
	super := s.super("super", members)
	c := s.catalog(super)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	repeat := func(do func()) {
		all.Go(func() {
			for ctx.Err() == nil {
				do()
			}
		})
	}
	var seen []string
	repeat(func() {
		names := c.Names()
		if len(names) < len(seen) || !slices.Equal(seen, names[:len(seen)]) {
			t.Errorf("after %q it lists %q", seen, names)
			cancel()
		}
		seen = names
		c.Has("m@" + names[len(names)-1])
		c.LeftOut()
		c.Root()
	})
	for range 2 {
		repeat(func() { s.says(c, "m", "x") })
		repeat(func() {
			if _, err := c.Refresh(t.Context(), again); err != nil {
				t.Error(err)
			}
		})
	}
	for _, name := range []string{"b", "a", "z"} {
		members[name] = nil
		s.super("super", members)
		eventually(t, name+" comes", func() bool { listed, _ := c.Has(name); return listed })
		c.Mounted("/mnt")
	}
	cancel()
	all.Wait()
	s.names(c, "m", "b", "a", "z")
	c.Release()
	s.Free(t)
}

// A catalog that is mounted holds all that it shows as a mount does, also what comes.
func TestMountedCatalog(t *testing.T) {
	s := newShelf(t)
	m := s.publish("m", "x")
	here := s.super("here", map[string]*maker.Made{"m": m})
	late := strings.Replace(here, "here.git", "late.git", 1)
	c := s.catalog(here, late)
	c.Mounted("/mnt/here")
	s.super("late", map[string]*maker.Made{"late": nil})
	s.refresh(c, true)
	for _, name := range s.Datasets.Names() {
		if _, err := s.Datasets.Remove(t.Context(), name, new(datasettest.Told).Tell); err == nil || !strings.Contains(err.Error(), "/mnt/here") {
			t.Errorf("%s: %v", name, err)
		}
	}
	c.Release()
	s.Free(t)
}

// Whoever gives up, and at whatever moment, leaves nothing held.
func TestCatalogThatIsGivenUp(t *testing.T) {
	s := newShelf(t)
	m := s.publish("m", "x")
	one, two := s.super("one", map[string]*maker.Made{"a": m}), s.super("two", map[string]*maker.Made{"b": m})
	for _, phase := range []control.Phase{control.PhaseClone, control.PhaseSnapshot} { // with the last, all is had
		ctx, cancel := context.WithCancel(t.Context())
		if c, err := s.Datasets.Catalog(ctx, s.request(), []string{one, two}, func(p control.Progress) {
			if strings.HasPrefix(p.Text, two) && p.Phase == phase {
				cancel()
			}
		}); c != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("given up at the second superdataset: %v, %v", c, err)
		}
		cancel()
	}
	s.Free(t)
	c := s.catalog(one, two)
	for n := range 200 { // what is known is soon had
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			time.Sleep(time.Duration(n) * 2 * time.Microsecond)
			cancel()
		}()
		if _, err := c.Refresh(ctx, 0); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	c.Release()
	s.Free(t)
}

// What a refresh brings when nobody wants the catalog any more is let go of.
func TestRefreshAfterRelease(t *testing.T) {
	s := newShelf(t)
	m := s.publish("m", "x")
	super := s.super("super", map[string]*maker.Made{"a": m})
	c := s.catalog(super)
	asked, open := make(chan struct{}), make(chan struct{})
	s.server.SetGitFault(func(publisher.Request) publisher.Fault {
		select {
		case asked <- struct{}{}:
			<-open
		default:
		}
		return nil
	})
	s.super("super", map[string]*maker.Made{"a": m, "b": m})
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Refresh(t.Context(), again)
	}()
	<-asked
	c.Release()
	close(open)
	comes(t, done, "the end of the refresh")
	s.Free(t)
}
