package mount

import (
	"context"
	"errors"
	iofs "io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// A Part is a view that a mount serves: of the dataset itself, or of a subdataset.
type Part struct {
	m       *Mount
	path    string // in the mount; "" is the dataset itself
	level   int    // how many subdatasets it is in
	version *dataset.Version
	shown   shown
	owner   string // of what it brings into the cache
	uses    func() (func(node int) cache.Use, error)
	known   *partFiles // nil: nothing is read ahead
	fs      *fs.Part
}

// newPart is a part whose files are used as the mount's request says, on behalf of owner.
func (m *Mount) newPart(path string, v *dataset.Version, chosen *dataset.Selection, owner string) (*Part, error) {
	p := &Part{m: m, path: path, version: v, shown: shown{chosen.View, chosen.Files, chosen.Hints}, owner: owner}
	p.uses = sync.OnceValues(func() (func(int) cache.Use, error) { return v.Uses(m.reads(owner)) })
	if path == "" && len(p.shown.files) > 0 {
		// Where content is is found out behind the mount: it is soon asked for. Of a
		// subdataset that somebody looks into, perhaps never.
		if _, err := p.uses(); err != nil {
			return nil, err
		}
	}
	p.fs = &fs.Part{View: chosen.View, Opener: p, Time: v.Time, Borders: p}
	if !m.request.NoReadAhead {
		p.guess()
	}
	return p, nil
}

// reads says how the mount's readers want content.
func (m *Mount) reads(owner string) cache.Use {
	req := m.request
	use := cache.Use{Owner: owner, Strict: req.Strict, NoReadAhead: req.NoReadAhead, Patience: control.DefaultPatience}
	if req.Patience != nil {
		use.Patience = *req.Patience
	}
	return use
}

// pathOf is a file's path in the mount.
func (p *Part) pathOf(node int) string { return path.Join(p.path, p.version.Path(node)) }

// below are the subdatasets of a mount.
type below struct {
	mu      sync.Mutex // guards the following
	entered []*entered
	looks   map[string]*look // by path in the mount
}

// look is somebody's first look into a subdataset, or how the last one ended.
type look struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiting int      // guarded by below.mu, as is entered until done
	entered *entered // of the mount, from the moment at which it is set
	err     error    // valid after done, as is until
	until   time.Time
}

const (
	// failureTTL is how long it is remembered that a subdataset cannot be had.
	failureTTL = 10 * time.Second
	// lookFor bounds a look into a subdataset: longer, a program waits for what may
	// never come.
	lookFor = 5 * time.Minute
)

// Has implements [fs.Borders].
func (p *Part) Has(dir int) bool {
	_, is := p.version.Subdataset(dir)
	return is && p.level < p.m.request.Levels()
}

// Enter implements [fs.Borders].
func (p *Part) Enter(ctx context.Context, dir int) (*fs.Part, error) {
	return p.m.enter(ctx, inside{
		path: p.pathOf(dir), level: p.level + 1, selection: p.m.request.Selection.Within(),
		open: func(ctx context.Context) (*dataset.Version, error) {
			return p.m.Datasets.Below(ctx, p.version, dir, quiet)
		},
	})
}

func quiet(control.Progress) {}

// inside is a dataset at a path of the mount, which somebody looks into.
type inside struct {
	path      string
	level     int // how many datasets it is in
	selection bids.Selection
	open      func(ctx context.Context) (*dataset.Version, error)
}

// enter looks into a dataset. One look serves all who wait for it, and ends when nobody
// does.
func (m *Mount) enter(ctx context.Context, in inside) (*fs.Part, error) {
	b, at := &m.below, in.path
	b.mu.Lock()
	l := b.looks[at]
	if l == nil || l.isOver() && l.err != nil && time.Now().After(l.until) {
		b.tidy()
		l = &look{done: make(chan struct{})}
		b.looks[at] = l
		var until context.Context
		until, l.cancel = context.WithTimeout(m.ctx, lookFor)
		go m.Guard("a look into a dataset", func() { m.look(until, l, in) })
	}
	l.waiting++
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if l.waiting--; l.waiting == 0 && l.entered == nil && !l.isOver() {
			l.cancel()
			delete(b.looks, at) // who comes next begins anew
		}
	}()
	select {
	case <-l.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if l.err != nil {
		return nil, unreached(l.err)
	}
	p, err := l.entered.get(ctx)
	if err != nil {
		return nil, err
	}
	return p.fs, nil
}

// tidy forgets failures of long ago, when they are many. Callers hold mu.
func (b *below) tidy() {
	if len(b.looks) < manyLooks {
		return
	}
	maps.DeleteFunc(b.looks, func(_ string, l *look) bool { return l.isOver() && l.err != nil && time.Now().After(l.until) })
}

// manyLooks is how many looks are remembered before failures are forgotten.
const manyLooks = 10_000

func (l *look) isOver() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

func (m *Mount) look(ctx context.Context, l *look, in inside) {
	defer l.cancel()
	err := errors.New("a defect of the program: see the log")
	defer func() { // also after a panic
		l.err, l.until = err, time.Now().Add(failureTTL)
		close(l.done)
	}()
	err = m.open(ctx, l, in)
}

// open makes a part for a look, unless nobody waits for it in the end.
func (m *Mount) open(ctx context.Context, l *look, in inside) error {
	v, err := in.open(ctx)
	if err != nil {
		return err
	}
	kept := false
	defer func() {
		if !kept {
			v.Release()
		}
	}()
	owner := m.ownerBelow(v)
	c := v.Chooser(owner, quiet)
	c.Below = true
	chosen, err := c.Choose(ctx, in.selection)
	if nothing := new(bids.NoMatchError); errors.As(err, &nothing) { // all is left out
		chosen, err = &dataset.Selection{Result: &bids.Result{}, View: v.View(nil, nil)}, nil
	}
	if err != nil {
		return err
	}
	p, err := m.newPart(in.path, v, chosen, owner)
	if err != nil {
		return err
	}
	p.level = in.level
	m.below.mu.Lock()
	defer m.below.mu.Unlock()
	if m.ctx.Err() != nil || m.below.looks[in.path] != l { // nobody waits for it any more
		return context.Canceled
	}
	kept = true
	v.Mounted(m.Target())
	l.entered = newEntered(p)
	m.below.entered = append(m.below.entered, l.entered)
	m.Log.Info("looked into a dataset", "target", m.Target(), "path", in.path, "dataset", v.Spec(), "commit", v.Commit, "files", chosen.View.Files())
	return nil
}

// unreached gives an error a number that a program is told: the network is out of
// reach, or the subdataset cannot be had.
func unreached(err error) error {
	known := new(advice.Error)
	switch {
	case errors.Is(err, iofs.ErrNotExist):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &known) && known.Reason == advice.Network:
		return errors.Join(syscall.EHOSTUNREACH, err)
	case errors.As(err, &known) && known.Reason == advice.Offline:
		return errors.Join(syscall.ENETUNREACH, err)
	}
	return errors.Join(syscall.EREMOTEIO, err)
}

// entered returns the datasets within the mount that somebody has looked into.
func (m *Mount) entered() []*entered {
	m.below.mu.Lock()
	defer m.below.mu.Unlock()
	return slices.Clone(m.below.entered)
}

// Close lets go of all that the mount shows, which nobody looks at any more.
func (m *Mount) Close() {
	m.stop()
	if m.device != nil {
		m.device.Close() // if it was not served: a second time, it does nothing
	}
	m.dropWritten()
	m.version.Release()
	for _, e := range m.entered() {
		e.release()
	}
	if m.folder != nil {
		m.folder.catalog.Release()
	}
}

// has reports whether a part of the mount is of a dataset.
func (m *Mount) has(dataset string) bool {
	return slices.Contains(m.version.Datasets(), dataset) ||
		slices.ContainsFunc(m.entered(), func(e *entered) bool { return slices.Contains(e.datasets, dataset) })
}

// partAt returns the part that a path in the mount lies in, and the path in that.
func (m *Mount) partAt(at string) (*Part, string, error) {
	var in *entered
	for _, e := range m.entered() {
		if (in == nil || len(e.told.Path) > len(in.told.Path)) && cachedir.Within(at, e.told.Path) {
			in = e
		}
	}
	if in == nil {
		return m.Part, at, nil
	}
	p, err := in.get(m.ctx)
	return p, strings.TrimPrefix(strings.TrimPrefix(at, in.told.Path), "/"), err
}

// borderAbove returns the subdataset of the part that a path lies in, as a path in the
// mount, and why it could not be looked into, if that is known.
func (p *Part) borderAbove(rel string) (border string, why error) {
	if f := p.m.folder; f != nil && p.path == "" {
		name, _, _ := strings.Cut(rel, "/")
		if _, possible := f.catalog.Has(name); possible && name != "" {
			return name, p.m.below.why(name)
		}
		return "", nil
	}
	for at := rel; at != ""; at = at[:max(strings.LastIndexByte(at, '/'), 0)] {
		if n, ok := p.shown.view.Find(at); ok {
			if !p.Has(n) {
				return "", nil
			}
			return p.pathOf(n), p.m.below.why(p.pathOf(n))
		}
	}
	return "", nil
}

// Files are some of the files of a part.
type Files struct {
	*Part
	Nodes []int
}

// Find returns the files at or below an absolute path, of all parts that are there. What
// lies below a subdataset that nobody has looked into is not known: it is left out, or
// an error if the path leads there.
func (m *Mount) Find(path string) (all []Files, err error) {
	at := m.within(path)
	p, rel, err := m.partAt(at)
	if err != nil {
		return nil, err
	}
	n, ok := p.shown.view.Find(rel)
	border, why := p.borderAbove(rel)
	if border != "" && !errors.Is(why, iofs.ErrNotExist) {
		return nil, advice.New(advice.Unreachable, path+" is in a subdataset that nobody has looked into", why, "look into it: ls "+filepath.Join(m.Target(), border))
	}
	switch {
	case !ok:
		return nil, advice.New(advice.NoMatch, path+" is not in the mount", why, "list what is there with: uniharmonyfs list")
	case p.version.Kind(n) != tree.Dir:
		return []Files{{p, []int{n}}}, nil
	}
	in := Files{Part: p}
	for _, f := range p.shown.files {
		if rel == "" || cachedir.Within(p.version.Path(f), rel) {
			in.Nodes = append(in.Nodes, f)
		}
	}
	all = append(all, in)
	for _, e := range m.entered() {
		if e.told.Path == p.path || at != "" && !cachedir.Within(e.told.Path, at) {
			continue
		}
		other, err := e.get(m.ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, Files{other, other.shown.files})
	}
	return all, nil
}

// within is an absolute path as one in the mount.
func (m *Mount) within(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, m.Target()), "/")
}

// NotEntered tells of the subdataset that an absolute path is, or lies below, into which
// nobody has looked yet, and of those below the path that could not be had.
func (m *Mount) NotEntered(path string) (all []control.PathStatus) {
	rel := m.within(path)
	tell := func(border string, why error) {
		ps := control.PathStatus{File: control.File{Path: border, Exact: control.Exact(border), State: control.Subdataset}, Mount: m.Target()}
		if why != nil {
			ps.Errors = []cache.Event{{Time: time.Now(), Name: border, Text: why.Error()}}
		}
		all = append(all, ps)
	}
	in, within, err := m.partAt(rel)
	if err != nil { // it was entered
		return nil
	}
	if border, why := in.borderAbove(within); border != "" && !errors.Is(why, iofs.ErrNotExist) {
		tell(border, why)
		return all
	}
	failed := m.below.failed()
	for _, border := range slices.Sorted(maps.Keys(failed)) {
		if rel == "" || cachedir.Within(border, rel) {
			tell(border, failed[border])
		}
	}
	return all
}

// Describe tells of a file of the part; errors are what was noted lately.
func (p *Part) Describe(n int, errors []cache.Event) control.PathStatus {
	ps := control.PathStatus{File: p.version.Describe(p.shown.view, n), Mount: p.m.Target()}
	ps.Path = p.pathOf(n)
	for _, e := range errors {
		if e.Key == ps.Key && e.Key != "" && (e.Dataset == "" || slices.Contains(p.version.Datasets(), e.Dataset)) {
			ps.Errors = append(ps.Errors, e)
		}
	}
	return ps
}

// Version is what the part shows, and Use how its readers want a file of it.
func (p *Part) Version() *dataset.Version { return p.version }

// failed returns the looks that failed, and why. That there is no dataset of a name is no
// failure.
func (b *below) failed() map[string]error {
	b.mu.Lock()
	defer b.mu.Unlock()
	failed := make(map[string]error)
	for at, l := range b.looks {
		if l.isOver() && l.err != nil && !errors.Is(l.err, iofs.ErrNotExist) {
			failed[at] = l.err
		}
	}
	return failed
}

// why returns why a subdataset could not be looked into the last time.
func (b *below) why(at string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.looks[at]; l != nil && l.isOver() {
		return l.err
	}
	return nil
}
