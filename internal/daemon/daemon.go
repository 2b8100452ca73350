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
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
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

const syncEvery = 45 * time.Second

// daemon is a running daemon. Lock order: mu is a leaf; nothing is called
// with it held.
type daemon struct {
	dir     cachedir.Dir
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
	givenUp  map[string]time.Time     // since when: IDs of requests for mounts that nobody waits for
	coming   map[string]chan struct{} // by ID: requests for mounts; closed at their end

	mu        sync.Mutex
	mounts    map[string]*mount // by target
	serving   map[*mount]bool   // that the kernel may keep content of
	datasets  map[string]*dataset
	snapshots map[gitstore.OID]weak.Pointer[index.Snapshot]

	targets    targetLocks // of downloads
	settingsMu sync.Mutex  // held while the settings change

	life *lifetime
}

// Run serves the cache in dir until ctx ends, or nothing was mounted or asked
// for the grace period. It returns errLocked when another daemon does.
// On return nothing is mounted and the index is closed.
//
// The order of the end: no request begins any more; those that had begun are
// cancelled and awaited; the mounts are taken away, politely, then by force;
// the cache, the datasets and the index are closed; the cache is removed if
// that was asked for; the lock goes last.
func Run(ctx context.Context, dir cachedir.Dir, o Options) (err error) {
	if err := dir.Make(); err != nil {
		return err
	}
	lock, err := dir.Lock()
	if errors.Is(err, cachedir.ErrLocked) {
		return advice.New(advice.Failed, "the cache "+string(dir)+" is in use", err)
	} else if err != nil {
		return err
	}
	defer lock.Close()

	if o.Grace == 0 {
		o.Grace = control.DefaultGrace
	}
	d := &daemon{
		dir:       dir,
		options:   o,
		log:       slog.New(slog.NewTextHandler(orDiscard(o.Log), nil)),
		git:       fetch.FindGit(),
		mounts:    make(map[string]*mount),
		serving:   make(map[*mount]bool),
		givenUp:   make(map[string]time.Time),
		coming:    make(map[string]chan struct{}),
		datasets:  make(map[string]*dataset),
		snapshots: make(map[gitstore.OID]weak.Pointer[index.Snapshot]),
		started:   time.Now(),
	}
	d.log.Info("start", "version", o.Version, "pid", os.Getpid(), "cache", dir)
	d.detachStale()
	if err := d.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()

	l, err := control.Listen(dir.Socket())
	if err != nil {
		return err
	}
	defer os.Remove(dir.Socket())
	server := control.NewServer(d.routes())
	served := make(chan struct{})
	d.life = newLifetime(o.Grace) // before the first request
	go func() {
		defer close(served)
		d.guarded("the control socket", func() {
			server.Serve(control.NewPeers(l, control.MaxConnections))
		})
		d.life.stop() // nobody could ask for anything
	}()
	if o.Ready != nil {
		o.Ready()
	}
	d.wait(ctx)
	d.life.stop()
	if left := d.life.drain(10 * time.Second); len(left) > 0 {
		d.log.Warn("requests do not end", "requests", left)
	}
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
		case <-d.life.ctx.Done():
			return
		case <-tick.C:
			if err := d.index.Sync(); err != nil {
				d.log.Warn("index not synced", "err", err)
			}
		}
	}
}

// open opens what lies in the cache directory.
func (d *daemon) open() error {
	x, err := index.Open(d.dir.Index(), index.Options{Check: d.options.CheckIndex, Log: d.log})
	if err != nil {
		return advice.New(advice.Failed, fmt.Sprintf("cannot use %s as the cache", d.dir), err)
	}
	c, err := cache.Open(string(d.dir), cache.Options{
		Budget: d.settings().Budget,
		Ledger: ledger{x},
		Revoke: d.revoke,
		Log:    d.log,
	})
	if err != nil {
		return errors.Join(advice.New(advice.Failed, fmt.Sprintf("cannot use %s as the cache", d.dir), err), x.Close())
	}
	d.index, d.cache = x, c
	return nil
}

// close closes it again, and removes the cache if that was asked for.
func (d *daemon) close() error {
	d.mu.Lock()
	datasets := d.datasets
	d.datasets = nil
	d.mu.Unlock()
	var errs []error
	errs = append(errs, d.cache.Close())
	for _, ds := range datasets {
		errs = append(errs, ds.close())
	}
	errs = append(errs, d.index.Close())
	if d.life != nil && d.life.wiping() {
		errs = append(errs, d.dir.Remove())
	}
	d.log.Info("stop", "err", errors.Join(errs...))
	return errors.Join(errs...)
}

// routes are the requests a daemon answers.
func (d *daemon) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/hello", d.sayHello)
	mux.HandleFunc("GET /v1/status", answer(d, "status", d.status))
	mux.HandleFunc("POST /v1/status", answer(d, "status", d.status))
	mux.HandleFunc("POST /v1/mount", answer(d, "mount", d.mountRequest))
	mux.HandleFunc("POST /v1/wait", answer(d, uncounted, d.waitRequest))
	mux.HandleFunc("POST /v1/unmount", answer(d, "unmount", d.unmountRequest))
	mux.HandleFunc("POST /v1/list", answer(d, "list", d.listRequest))
	mux.HandleFunc("POST /v1/files", answer(d, "files", d.filesRequest))
	mux.HandleFunc("POST /v1/get", answer(d, "get", d.getRequest))
	mux.HandleFunc("POST /v1/clean", answer(d, "clean", d.cleanRequest))
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
