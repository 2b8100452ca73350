package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"
	"weak"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/index"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
)

// Options tune Run. The zero value works.
type Options struct {
	Version string // of the program
	// Grace is how long a daemon without mounts and requests stays; 0 is
	// the default of 10 s.
	Grace time.Duration
	// CheckIndex is passed to the index; see [index.Options].
	CheckIndex func(dir string) error
	// Ready is told when requests are answered.
	Ready func()
	Log   io.Writer
}

const (
	defaultGrace = 10 * time.Second
	syncEvery    = 45 * time.Second
)

// daemon is a running daemon. Lock order: mu is a leaf; nothing is called
// with it held.
type daemon struct {
	dir     Dir
	options Options
	log     *slog.Logger
	cache   *cache.Cache
	index   *index.Index
	git     string // path of the git program, "" when there is none
	started time.Time

	// mounting serialises changes to the set of mounts, and guards stale,
	// givenUp and coming.
	mounting sync.Mutex
	stale    []string                 // targets of dead mounts that were detached at the start
	givenUp  map[string]bool          // IDs of requests for mounts that nobody waits for
	coming   map[string]chan struct{} // by ID: requests for mounts; closed at their end

	mu        sync.Mutex
	mounts    map[string]*mount // by target
	serving   map[*mount]bool   // that the kernel may keep content of
	datasets  map[string]*dataset
	snapshots map[gitstore.OID]weak.Pointer[index.Snapshot]
	requests  int
	idle      *time.Timer

	targets    targetLocks // of downloads
	settingsMu sync.Mutex  // held while the settings change

	quit     chan struct{} // closed when the daemon is to stop
	quitOnce sync.Once
	wipe     bool // remove the cache when stopped; guarded by mu
}

// Run serves the cache in dir until ctx ends, or nothing was mounted or asked
// for the grace period. It returns errLocked's fault when another daemon does.
// On return nothing is mounted and the index is closed.
func Run(ctx context.Context, dir Dir, o Options) (err error) {
	if err := dir.Make(); err != nil {
		return err
	}
	lock, err := dir.lock()
	if errors.Is(err, errLocked) {
		return fault(Failed, "the cache "+string(dir)+" is in use", err)
	} else if err != nil {
		return err
	}
	defer lock.Close()

	if o.Grace == 0 {
		o.Grace = defaultGrace
	}
	d := &daemon{
		dir:       dir,
		options:   o,
		log:       slog.New(slog.NewTextHandler(orDiscard(o.Log), nil)),
		git:       fetch.FindGit(),
		mounts:    make(map[string]*mount),
		serving:   make(map[*mount]bool),
		givenUp:   make(map[string]bool),
		coming:    make(map[string]chan struct{}),
		datasets:  make(map[string]*dataset),
		snapshots: make(map[gitstore.OID]weak.Pointer[index.Snapshot]),
		quit:      make(chan struct{}),
		started:   time.Now(),
	}
	d.log.Info("start", "version", o.Version, "pid", os.Getpid(), "cache", dir)
	d.detachStale()
	if err := d.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()

	l, err := listen(dir.socket())
	if err != nil {
		return err
	}
	defer os.Remove(dir.socket())
	server := newServer(d.routes())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ownerOnly{Listener: l, slots: make(chan struct{}, maxConnections)}) }()
	d.idle = time.AfterFunc(o.Grace, d.stopIfIdle)
	defer d.idle.Stop()
	if o.Ready != nil {
		o.Ready()
	}
	d.wait(ctx)
	d.unmountAll()
	drain, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if server.Shutdown(drain) != nil {
		server.Close()
	}
	<-served
	return nil
}

// wait returns when the daemon is to stop.
func (d *daemon) wait(ctx context.Context) {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			d.log.Info("stopped by a signal")
			return
		case <-d.quit:
			return
		case <-tick.C:
			if err := d.index.Sync(); err != nil {
				d.log.Warn("index not synced", "err", err)
			}
		}
	}
}

func (d *daemon) stop() { d.quitOnce.Do(func() { close(d.quit) }) }

// open opens what lies in the cache directory.
func (d *daemon) open() error {
	x, err := index.Open(d.dir.index(), index.Options{Check: d.options.CheckIndex, Log: d.log})
	if err != nil {
		return fault(Failed, fmt.Sprintf("cannot use %s as the cache", d.dir), err)
	}
	c, err := cache.Open(string(d.dir), cache.Options{
		Budget: d.loadSettings().Budget,
		Ledger: ledger{x},
		Revoke: d.revoke,
		Log:    d.log,
	})
	if err != nil {
		return errors.Join(fault(Failed, fmt.Sprintf("cannot use %s as the cache", d.dir), err), x.Close())
	}
	d.index, d.cache = x, c
	return nil
}

// close closes it again, and removes the cache if that was asked for.
func (d *daemon) close() error {
	d.mu.Lock()
	datasets, wipe := d.datasets, d.wipe
	d.datasets = nil
	d.mu.Unlock()
	var errs []error
	errs = append(errs, d.cache.Close())
	for _, ds := range datasets {
		errs = append(errs, ds.close())
	}
	errs = append(errs, d.index.Close())
	if wipe {
		errs = append(errs, d.dir.remove())
	}
	d.log.Info("stop", "err", errors.Join(errs...))
	return errors.Join(errs...)
}

// begin and end bracket a request, so that a daemon at work never stops for
// idleness.
func (d *daemon) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests++
}

func (d *daemon) end() {
	d.mu.Lock()
	d.requests--
	d.mu.Unlock()
	d.restartGrace()
}

func (d *daemon) restartGrace() { d.idle.Reset(d.options.Grace) }

func (d *daemon) stopIfIdle() {
	d.mu.Lock()
	busy := d.requests > 0 || len(d.mounts) > 0
	d.mu.Unlock()
	if !busy {
		d.stop()
	}
}

// routes are the requests a daemon answers.
func (d *daemon) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/hello", d.sayHello)
	mux.HandleFunc("GET /v1/status", answer(d, d.status))
	mux.HandleFunc("POST /v1/status", answer(d, d.status))
	mux.HandleFunc("POST /v1/mount", answer(d, d.mountRequest))
	mux.HandleFunc("POST /v1/wait", answer(d, d.waitRequest))
	mux.HandleFunc("POST /v1/unmount", answer(d, d.unmountRequest))
	mux.HandleFunc("POST /v1/list", answer(d, d.listRequest))
	mux.HandleFunc("POST /v1/files", answer(d, d.filesRequest))
	mux.HandleFunc("POST /v1/get", answer(d, d.getRequest))
	mux.HandleFunc("POST /v1/clean", answer(d, d.cleanRequest))
	mux.HandleFunc("POST /v1/stop", d.stopRequest)
	return mux
}

// ledger is the index as the cache knows it.
type ledger struct{ x *index.Index }

func (l ledger) Load(fn func(cache.Record)) error {
	return l.x.Load(func(r index.Record) { fn(cache.Record(r)) })
}

func (l ledger) Save(put []cache.Record, del []annex.Key) error {
	records := make([]index.Record, len(put))
	for i, r := range put {
		records[i] = index.Record(r)
	}
	return l.x.Save(records, del)
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}
