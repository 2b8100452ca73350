package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/index"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/bulk"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset"
	"github.com/uniharmony/uniharmonyfs/internal/download"
	"github.com/uniharmony/uniharmonyfs/internal/mount"
	"github.com/uniharmony/uniharmonyfs/internal/place"
)

// Options tune Run. The zero value works.
type Options struct {
	Version string // of the program
	// Grace is how long a daemon without mounts and requests stays; 0 is
	// the default of 10 s.
	Grace time.Duration
	// Look is how often it is looked whether anybody can still see the mounts; 0 is every
	// 20 s.
	Look time.Duration
	// Temporary says that the cache is removed when the daemon ends, and then these
	// directories, if they are empty.
	Temporary   bool
	Directories []string
	// Lender is another cache of this user's, whose objects and clones are used where
	// they are; "" is none.
	Lender cachedir.Dir
	// CheckIndex is passed to the index; see [index.Options].
	CheckIndex func(dir string) error
	// Ready is told when requests are answered.
	Ready func()
	Log   io.Writer
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
	at := place.Here()
	defer lock.Truncate(0) // nobody serves it then
	if err := sign(dir, lock, at); err != nil {
		return err
	}

	if o.Grace == 0 {
		o.Grace = control.DefaultGrace
	}
	d := &daemon{
		dir:     dir,
		options: o,
		log:     slog.New(slog.NewTextHandler(orDiscard(o.Log), nil)),
		mounts:  newMounts(),
		started: time.Now(),
		place:   at,
	}
	d.settings = &settings{dir: dir, log: d.log}
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

// sign writes into the lock, which is held, who holds it.
func sign(dir cachedir.Dir, lock *os.File, at place.Place) error {
	if err := control.HeldInSpite(dir); err != nil {
		return err
	}
	said, err := json.Marshal(at)
	if err == nil {
		err = errors.Join(lock.Truncate(0), writeAt(lock, said))
	}
	if err != nil {
		return advice.New(advice.Failed, "cannot use "+string(dir)+" as the cache", err)
	}
	return nil
}

func writeAt(f *os.File, said []byte) error {
	_, err := f.WriteAt(said, 0)
	return err
}

// isUnseen reports whether nobody is left in this mount namespace who could see what is
// mounted, and nobody elsewhere does.
func (d *daemon) isUnseen() bool {
	if len(d.life.work()) > 0 || !place.IsAlone() {
		return false
	}
	mounts, err := fs.ListMounts()
	return err == nil && !slices.ContainsFunc(mounts, func(m fs.MountInfo) bool {
		dir, ours := cachedir.OfMount(m.FsName)
		return ours && dir == d.dir && m.Shared
	})
}

// wait returns when the daemon is to stop.
func (d *daemon) wait(ctx context.Context) {
	tick := time.NewTicker(control.SignOfLife)
	defer tick.Stop()
	look := time.NewTicker(cmp.Or(d.options.Look, 20*time.Second))
	defer look.Stop()
	unseen := 0
	for {
		select {
		case <-look.C:
			if !d.isUnseen() {
				unseen = 0
			} else if unseen++; unseen > 1 {
				d.log.Info("nobody is left in this mount namespace")
				return
			}
		case <-ctx.Done():
			d.log.Info("stopped by a signal")
			return
		case <-d.life.ctx.Done():
			return
		case now := <-tick.C:
			if err := os.Chtimes(d.dir.LockPath(), now, now); err != nil {
				d.log.Warn("the lock gets no new date", "err", err)
			}
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
		Budget: d.settings.get().Budget,
		Ledger: ledger{x.Table(index.Objects)},
		Revoke: d.revoke,
		Log:    d.log,
	})
	if err != nil {
		return errors.Join(advice.New(advice.Failed, fmt.Sprintf("cannot use %s as the cache", d.dir), err), x.Close())
	}
	d.index, d.cache, d.settings.cache = x, c, c
	git := fetch.FindGit()
	d.work = bulk.Worker{Cache: c, Guard: d.guarded}
	var lender *control.Lender
	if d.options.Lender != "" {
		lender = control.NewLender(d.options.Lender)
	}
	d.datasets = dataset.New(dataset.Options{Lender: lender, Dir: d.dir, Cache: c, Index: x, Git: git, Log: d.log, Guard: d.guarded})
	d.views = mount.Host{Dir: d.dir, Cache: c, Datasets: d.datasets, Log: d.log, Guard: d.guarded}
	d.downloads = download.New(download.Options{
		Dir: d.dir, Cache: c, Datasets: d.datasets, Git: git, Guard: d.guarded, Settings: d.settings,
		Mounts: d.mounts.targets,
	})
	return nil
}

// revoke has the kernel forget what it keeps of a key for the mounts of a
// dataset, or for all. Every mount that was ever asked for content counts, also
// one that is just coming or was taken away by force.
func (d *daemon) revoke(key annex.Key, dataset string) {
	for _, m := range d.mounts.served() {
		m.Revoke(key, dataset)
	}
}

// close closes it again, and removes the cache if that was asked for.
func (d *daemon) close() error {
	errs := []error{d.cache.Close(), d.datasets.Close(), d.index.Close()}
	if d.options.Temporary || d.life != nil && d.life.wiping() {
		errs = append(errs, d.dir.Remove())
	}
	for _, dir := range d.options.Directories {
		os.Remove(dir)
	}
	d.log.Info("stop", "err", errors.Join(errs...))
	return errors.Join(errs...)
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}
