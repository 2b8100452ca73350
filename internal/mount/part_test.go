package mount

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset"
	"github.com/uniharmony/uniharmonyfs/internal/dataset/datasettest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// opener opens a dataset for looks at a path of a mount, as the test wants.
type opener struct {
	m     *Mount
	req   control.Dataset
	calls atomic.Int32
	began chan context.Context               // by each look
	goOn  func(context.Context, int32) error // what becomes of the nth
}

func (r *rig) opener(m *Mount, goOn func(context.Context, int32) error) *opener {
	r.t.Helper()
	req := datasettest.Request(r.server, r.publish(images("opened", 1, 100)))
	v, err := r.Datasets.Open(r.t.Context(), req, quiet) // so that it is known
	if err != nil {
		r.t.Fatal(err)
	}
	v.Release()
	return &opener{m: m, req: req, began: make(chan context.Context, 10), goOn: goOn}
}

func (o *opener) enter(ctx context.Context) (*fs.Part, error) {
	return o.m.enter(ctx, inside{path: "at", level: 1, open: func(ctx context.Context) (*dataset.Version, error) {
		n := o.calls.Add(1)
		o.began <- ctx
		if err := o.goOn(ctx, n); err != nil {
			return nil, err
		}
		return o.m.Datasets.Open(context.WithoutCancel(ctx), o.req, quiet)
	}})
}

// waiting is how many wait for the look.
func (o *opener) waiting() int {
	o.m.below.mu.Lock()
	defer o.m.below.mu.Unlock()
	if l := o.m.below.looks["at"]; l != nil {
		return l.waiting
	}
	return 0
}

// parts are all that the mount shows: the dataset itself, and what was looked into.
func (m *Mount) parts() []*Part {
	all := []*Part{m.Part}
	for _, e := range m.entered() {
		all = append(all, e.part)
	}
	return all
}

// longAgo makes a failure one of long ago.
func (m *Mount) longAgo(path string) {
	m.below.mu.Lock()
	defer m.below.mu.Unlock()
	m.below.looks[path].until = time.Now().Add(-time.Second)
}

// All who look at once get one part, for which one clone is made; who looks later makes
// no request.
func TestOneLookServesAll(t *testing.T) {
	r := newRig(t, 0)
	m := r.mount(r.request(r.nested()))
	dir := m.at(t, "inner")
	if !m.Has(dir) || m.Has(m.at(t, "deep")) || m.Has(0) {
		t.Error("the borders are elsewhere")
	}
	asked, open := make(chan struct{}), make(chan struct{})
	var first sync.Once
	var heads atomic.Int32
	r.server.SetGitFault(func(q publisher.Request) publisher.Fault {
		if strings.HasSuffix(q.Path, "/info/refs") && strings.Contains(q.Path, "inner") {
			heads.Add(1)
		}
		first.Do(func() { close(asked) })
		<-open
		return nil
	})
	const many = 20
	got := make(chan *fs.Part, many)
	for range many {
		go func() {
			p, err := m.Enter(t.Context(), dir)
			if err != nil {
				t.Error(err)
			}
			got <- p
		}()
	}
	comes(t, asked, "the request")
	close(open)
	one := <-got
	for range many - 1 {
		if p := <-got; p != one {
			t.Error("they look at different parts")
		}
	}
	if n := heads.Load(); n == 0 || n > 2 { // a git that is old asks twice
		t.Errorf("the server is asked %d times", n)
	}
	r.asked.Store(0)
	r.server.Close()
	if p, err := m.Enter(t.Context(), dir); p != one || err != nil {
		t.Errorf("later: %v", err)
	}
	if all := m.parts(); len(all) != 2 || all[1].fs != one || all[1].pathOf(all[1].at(t, image(1))) != "inner/"+image(1) {
		t.Errorf("%d parts", len(all))
	}
}

// A look goes on while somebody waits, and ends when nobody does; who comes then begins
// anew.
func TestLookThatNobodyWaitsFor(t *testing.T) {
	r := newRig(t, 0)
	m := r.mount(r.request(r.nested()))
	o := r.opener(m, func(ctx context.Context, n int32) error {
		if n > 1 {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	})
	var ends []context.CancelFunc
	left := make(chan error, 2)
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		ends = append(ends, cancel)
		go func() {
			_, err := o.enter(ctx)
			left <- err
		}()
	}
	look := <-o.began
	eventually(t, "both wait", func() bool { return o.waiting() == 2 })
	for i, end := range ends {
		if look.Err() != nil {
			t.Errorf("after %d have left, it has ended", i)
		}
		end()
		if err := <-left; !errors.Is(err, context.Canceled) || errors.Is(err, syscall.EREMOTEIO) {
			t.Errorf("who leaves is told %v", err)
		}
	}
	comes(t, look.Done(), "the end of the look")
	if p, err := o.enter(t.Context()); err != nil || p == nil || o.calls.Load() != 2 {
		t.Errorf("anew: %v, %d looks", err, o.calls.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := o.enter(ctx); err != nil && !errors.Is(err, context.Canceled) || o.calls.Load() != 2 {
		t.Errorf("of what is known, who leaves is told %v, %d looks", err, o.calls.Load())
	}
	m.Close()
	r.Free(t)
}

// A failure is told to who looks again within some seconds, and then it is tried again.
func TestFailureIsRemembered(t *testing.T) {
	r := newRig(t, 0)
	m := r.mount(r.request(r.nested()))
	o := r.opener(m, func(_ context.Context, n int32) error {
		if n < 3 {
			return fmt.Errorf("failure %d", n)
		}
		return nil
	})
	fails := func(want string, calls int32) {
		t.Helper()
		if _, err := o.enter(t.Context()); err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, syscall.EREMOTEIO) || o.calls.Load() != calls {
			t.Errorf("%v, after %d looks", err, o.calls.Load())
		}
	}
	fails("failure 1", 1)
	fails("failure 1", 1)
	m.longAgo("at")
	fails("failure 2", 2)
	fails("failure 2", 2)
	if why := m.below.why("at"); why == nil || why.Error() != "failure 2" || len(m.below.failed()) != 1 {
		t.Errorf("it failed for %v", why)
	}
	m.longAgo("at")
	if _, err := o.enter(t.Context()); err != nil {
		t.Error(err)
	}
	if why := m.below.why("at"); why != nil || len(m.below.failed()) != 0 {
		t.Errorf("it still failed for %v", why)
	}
	// Many failures of long ago are forgotten, those of now are not.
	m.below.mu.Lock()
	over := make(chan struct{})
	close(over)
	for n := range manyLooks {
		m.below.looks[fmt.Sprint(n)] = &look{done: over, err: errors.New("x"), until: time.Now().Add(time.Duration(n%2*2-1) * time.Hour)}
	}
	m.below.tidy()
	if n := len(m.below.looks); n != manyLooks/2+1 {
		t.Errorf("%d looks are remembered", n)
	}
	m.below.mu.Unlock()
}

// A panic is a failure like others, for all who wait.
func TestPanicInALook(t *testing.T) {
	r := newRig(t, 0)
	m := r.mount(r.request(r.nested()))
	var o *opener
	o = r.opener(m, func(_ context.Context, n int32) error {
		if n == 1 {
			eventually(t, "all wait", func() bool { return o.waiting() == 3 })
			panic("a defect")
		}
		return nil
	})
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if _, err := o.enter(t.Context()); !errors.Is(err, syscall.EREMOTEIO) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	eventually(t, "the panic is caught", func() bool { return r.panics.Load() == 1 })
	if n := o.calls.Load(); n != 1 {
		t.Errorf("%d looks", n)
	}
	m.longAgo("at")
	if _, err := o.enter(t.Context()); err != nil {
		t.Error(err)
	}
	m.Close()
	r.Free(t)
}

// A look that ends after its mount holds nothing.
func TestLookThatEndsAfterTheMount(t *testing.T) {
	r := newRig(t, 0)
	m := r.mount(r.request(r.nested()))
	open := make(chan struct{})
	o := r.opener(m, func(context.Context, int32) error { <-open; return nil })
	told := make(chan error, 1)
	go func() {
		_, err := o.enter(t.Context())
		told <- err
	}()
	look := <-o.began
	m.Close()
	comes(t, look.Done(), "the end of the look")
	close(open)
	if err := <-told; err == nil {
		t.Error("it is entered")
	}
	if len(m.parts()) != 1 {
		t.Errorf("%d parts", len(m.parts()))
	}
	r.Free(t)
}

// Nor does one that nobody waits for any more, and its part is not shown beside that of
// who came later.
func TestLookThatEndsWhenNobodyWaits(t *testing.T) {
	r := newRig(t, 0)
	m := r.mount(r.request(r.nested()))
	open := make(chan struct{})
	o := r.opener(m, func(_ context.Context, n int32) error {
		if n == 1 {
			<-open
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-o.began
		cancel()
	}()
	if _, err := o.enter(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	shown, err := o.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	close(open)
	eventually(t, "both looks are over", func() bool { return r.behind.Load() == 0 })
	if again, err := o.enter(t.Context()); again != shown || err != nil || len(m.parts()) != 2 {
		t.Errorf("%d parts, %v", len(m.parts()), err)
	}
	m.Close()
	r.Free(t)
}

// The last who waits leaves at the moment at which the look takes note of its part.
func TestLookThatIsLeftAtItsEnd(t *testing.T) {
	r := newRig(t, 0)
	m := r.mount(r.request(r.nested()))
	open := make(chan struct{})
	o := r.opener(m, func(context.Context, int32) error { <-open; return nil })
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		o.enter(ctx)
	}()
	<-o.began
	// Both come to the lock, the look first. One who has waited for it long in vain gets
	// it next, and so does who waits behind.
	mu := &m.below.mu
	mu.Lock()
	close(open)
	time.Sleep(200 * time.Millisecond)
	cancel()
	time.Sleep(20 * time.Millisecond)
	mu.Unlock()
	mu.Lock()
	time.Sleep(20 * time.Millisecond)
	mu.Unlock()
	comes(t, left, "who leaves")
	eventually(t, "the look is over", func() bool { return r.behind.Load() == 0 })
	if _, err := o.enter(t.Context()); err != nil {
		t.Error(err)
	}
	if n := len(m.parts()); n != 2 {
		t.Errorf("one directory has %d parts", n-1)
	}
	m.Close()
	r.Free(t)
}

// Many look, leave and look again, while the mount ends.
func TestLooksAtOnce(t *testing.T) {
	r := newRig(t, 0)
	m := r.mount(r.request(r.nested()))
	var all sync.WaitGroup
	for n := range 24 {
		all.Go(func() {
			dir := m.at(t, []string{"inner", "gone", "deep/plain"}[n%3])
			for k := range 10 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+n*k)*time.Millisecond)
				m.Enter(ctx, dir)
				cancel()
				m.Find("/mnt/x/inner/README")
				m.NotEntered("/mnt/x")
				m.Owns("x:/mnt/x")
				m.Revoke(m.version.Key(m.at(t, image(1))), "none")
			}
		})
	}
	time.Sleep(300 * time.Millisecond)
	m.Close()
	all.Wait()
	eventually(t, "all looks are over", func() bool { return r.behind.Load() == 0 })
	seen := make(map[string]bool)
	for _, p := range m.parts() {
		if seen[p.path] {
			t.Errorf("%q is shown twice", p.path)
		}
		seen[p.path] = true
	}
	r.Free(t)
}

// Subdatasets are directories as deep as the request says.
func TestRecursionLimit(t *testing.T) {
	r := newRig(t, 0)
	made := r.nested()
	for limit := range 4 {
		req := r.request(made)
		req.RecursionLimit = &limit
		m := r.mount(req)
		if limit == 0 {
			if _, ok := m.shown.view.Find("inner"); ok {
				t.Error("without subdatasets there is one")
			}
			continue
		}
		inner := r.within(m.Part, "inner")
		if got := inner.Has(inner.at(t, "deeper")); got != (limit > 1) {
			t.Errorf("limit %d: below the first level there is another: %v", limit, got)
		}
	}
}

// A selection that leaves out all of a subdataset leaves a directory with nothing in it.
func TestSubdatasetOfWhichNothingIsShown(t *testing.T) {
	r := newRig(t, 0)
	req := r.request(r.nested())
	req.Selection = bids.Selection{Exclude: []string{"README", "sub-*/**", "deeper"}}
	v, err := r.Datasets.Open(t.Context(), req.Dataset, quiet)
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.host.New(req, v, &dataset.Selection{Result: &bids.Result{}, View: v.View(nil, nil)})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	dir, _ := v.Find("deep/plain")
	p, err := m.enter(t.Context(), inside{path: "deep/plain", level: 1, selection: req.Selection, open: func(ctx context.Context) (*dataset.Version, error) {
		return r.Datasets.Below(ctx, v, dir, quiet)
	}})
	if err != nil || p.View.Files() != 0 {
		t.Errorf("%v, %v", p, err)
	}
}

// What a program is told of what cannot be reached.
func TestErrnoOfALook(t *testing.T) {
	because := func(reason advice.Reason) error {
		e := advice.New(advice.Unreachable, "cannot get it", nil)
		e.Reason = reason
		return fmt.Errorf("wrapped: %w", e)
	}
	for _, c := range []struct {
		err  error
		want syscall.Errno
	}{
		{because(advice.Network), syscall.EHOSTUNREACH},
		{context.DeadlineExceeded, syscall.EHOSTUNREACH},
		{because(advice.Offline), syscall.ENETUNREACH},
		{because(advice.NotFound), syscall.EREMOTEIO},
		{because(advice.Authentication), syscall.EREMOTEIO},
		{because(advice.DiskFull), syscall.EREMOTEIO},
		{errors.New("any other"), syscall.EREMOTEIO},
	} {
		got := unreached(c.err)
		for _, no := range []syscall.Errno{syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EREMOTEIO} {
			if errors.Is(got, no) != (no == c.want) {
				t.Errorf("%v: %v", c.err, got)
			}
		}
		if !errors.Is(got, c.err) {
			t.Errorf("%v has become %v", c.err, got)
		}
	}
	if err := fmt.Errorf("%w: x", iofs.ErrNotExist); unreached(err) != err {
		t.Error("what there is not is out of reach")
	}

	// With true subdatasets: of a server that is away, offline, and of a path that is not there.
	r := newRig(t, 0)
	made := r.nested()
	m := r.mount(r.request(made))
	fails := func(m *Mount, path string, want syscall.Errno) {
		t.Helper()
		if _, err := m.Enter(t.Context(), m.at(t, path)); !errors.Is(err, want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	fails(m, "gone", syscall.EREMOTEIO)
	req := r.request(made)
	req.Offline = true
	fails(r.mount(req), "inner", syscall.ENETUNREACH)
	r.server.Close()
	fails(m, "inner", syscall.EHOSTUNREACH)

	modules := "[submodule \"a\"]\n\tpath = a\n\turl = /nowhere/a\n[submodule \"b\"]\n\tpath = b\n\turl = ./b\n"
	local, err := maker.Make(filepath.Join(t.TempDir(), "local"), maker.Dataset{Name: "local", WorkTree: true, Files: []maker.File{
		{Path: ".gitmodules", Data: []byte(modules)}, {Path: "README"},
		{Path: "a", Commit: strings.Repeat("1", 40)}, {Path: "b", Commit: strings.Repeat("2", 40)}, {Path: "unnamed", Commit: strings.Repeat("3", 40)}, {Path: "odd\xff name", Commit: strings.Repeat("4", 40)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	m = r.mount(control.MountRequest{Dataset: control.Dataset{Spec: local.Dir, Env: os.Environ()}, Target: "/mnt/x"})
	for _, path := range []string{"a", "b", "unnamed", "odd\xff name"} {
		fails(m, path, syscall.EREMOTEIO)
	}
	for _, ps := range m.NotEntered("/mnt/x") {
		if len(ps.Errors) != 1 || strings.HasPrefix(ps.Path, "odd") && string(ps.Exact) != "odd\xff name" {
			t.Errorf("%+v", ps)
		}
	}
}
