package mount

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/bulk"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// A Host has what mounts are made of. All is needed.
type Host struct {
	Dir      cachedir.Dir
	Cache    *cache.Cache
	Datasets *dataset.Registry
	Log      *slog.Logger
	Guard    bulk.Guard
}

// A Mount is a view that is served, with the views of its subdatasets that somebody has
// looked into. Its methods may be called by any goroutine.
type Mount struct {
	*Part          // of the dataset itself
	folder *folder // nil: it is a mount of one dataset
	Host
	request control.MountRequest
	device  *os.File // that was taken over, or nil
	written *written // nil: the mount is read-only
	served  *fs.Mounted
	since   time.Time

	attached    chan struct{} // closed when served is known, or that there is none
	prefetched  []int         // what Prefetch brings
	prefetching atomic.Bool
	asked       atomic.Bool     // to end
	ctx         context.Context // ends with the mount
	stop        context.CancelFunc
	below       below
}

// shown is what a part shows. What a selection knows beside that is as large
// again, and is not kept.
type shown struct {
	view  *tree.View
	files []int    // its nodes, in the order of their paths
	hints []string // for people
}

// Owner is for whom a mount's content of the dataset itself is in the cache.
func Owner(v *dataset.Version, target string) string { return v.ID() + ":" + target }

// ownerBelow is for whom its content of a dataset in it is there. It begins with the
// dataset's name, as every owner does, and ends with the mount's.
func (m *Mount) ownerBelow(v *dataset.Version) string { return v.ID() + ":" + m.Part.owner }

// Owns reports whether content is in the cache for the mount, or for one before of the
// same dataset at the same target.
func (m *Mount) Owns(owner string) bool {
	_, of, _ := strings.Cut(owner, ":")
	return owner == m.Part.owner || of == m.Part.owner
}

// New returns a mount of what was chosen from a version. It is not served yet; without an
// error, the version is the mount's until its Close.
func (h Host) New(req control.MountRequest, v *dataset.Version, chosen *dataset.Selection) (m *Mount, err error) {
	m = &Mount{Host: h, request: req, since: time.Now(), attached: make(chan struct{}), below: below{looks: make(map[string]*look)}}
	m.ctx, m.stop = context.WithCancel(context.Background())
	if m.Part, err = m.newPart("", v, chosen, Owner(v, req.Target)); err != nil {
		m.stop()
		return nil, err
	}
	v.Foresee(chosen.Files)
	if req.Prefetch {
		m.prefetched = m.inBudget()
	}
	return m, nil
}

// Given reports whether its connection was mounted by somebody else.
func (m *Mount) Given() bool { return m.request.Device != "" }

// ID is that of the request, and Target where the mount is.
func (m *Mount) ID() string     { return m.request.ID }
func (m *Mount) Target() string { return m.request.Target }

// Take takes the upper directory, or takes over the connection that is offered, if the
// request says so.
func (m *Mount) Take(ctx context.Context) (err error) {
	if m.request.Writable != "" {
		return m.takeUpper()
	}
	switch {
	case m.request.Device == "":
		return nil
	case filepath.Dir(m.request.Device) != m.Dir.Offers():
		return advice.New(advice.Usage, "a device is offered in "+m.Dir.Offers()+" only", nil)
	}
	if m.device, err = control.Take(ctx, m.request.Device); err != nil {
		return advice.New(advice.CannotMount, "cannot take over the mount "+m.Target(), err)
	}
	return nil
}

// Serve mounts it. It is called once, and before all that follows.
func (m *Mount) Serve() error {
	defer close(m.attached)
	served, err := fs.Mount(m.fs, fs.Options{
		Target:     m.viewAt(),
		Device:     m.device,
		Control:    m,
		FsName:     m.Dir.MountSource(),
		AllowOther: m.request.AllowOther,
		Layer:      m.request.Layer || m.written != nil,
		ObjectDir:  m.Dir.Objects(),
		Log:        m.Log,
	})
	if err != nil {
		return err
	}
	m.served = served
	if m.written != nil {
		if err := m.cover(); err != nil {
			m.Detach()
			return err
		}
	}
	go m.Guard("tidying a mount", m.tidy)
	m.version.Mounted(m.Target())
	if m.folder != nil {
		m.folder.catalog.Mounted(m.Target())
		if !m.request.Offline {
			go m.Guard("the list of datasets", m.folder.refresh)
		}
	}
	m.Log.Info("mounted", "target", m.Target(), "dataset", m.version.Spec(), "commit", m.version.Commit, "files", m.shown.view.Files(), "passthrough", served.Passthrough())
	return nil
}

// Closed is closed by Close.
func (m *Mount) Closed() <-chan struct{} { return m.ctx.Done() }

// Done is that of [fs.Mounted], as are Unmount and Detach.
func (m *Mount) Done() <-chan struct{} { return m.served.Done() }

func (m *Mount) Unmount() error {
	if m.written != nil {
		return m.ask(func() error { return m.uncover(false) })
	}
	return m.ask(m.served.Unmount)
}

func (m *Mount) Detach() error {
	if m.written != nil {
		return m.ask(func() error { return m.uncover(true) })
	}
	return m.ask(m.served.Detach)
}

func (m *Mount) ask(end func() error) error {
	before := m.asked.Swap(true)
	err := end()
	if err != nil {
		m.asked.Store(before)
	}
	return err
}

// Asked reports whether somebody has asked for the end of the mount by Unmount or Detach.
func (m *Mount) Asked() bool { return m.asked.Load() }

// Info describes the mount as it is now.
func (m *Mount) Info() control.MountInfo {
	v, reads := m.version, m.reads("")
	i := control.MountInfo{
		Target: m.Target(), Dataset: v.Spec(), Version: v.Request.Version, Commit: string(v.Commit),
		Selection: m.request.Selection, Files: m.shown.view.Files(), Bytes: m.shown.view.Bytes(),
		Hidden: v.Hidden, Hints: m.shown.hints, Offline: v.Request.Offline,
		Passthrough: m.served.Passthrough(), Writable: m.request.Writable, Strict: reads.Strict, NoReadAhead: reads.NoReadAhead, Patience: reads.Patience,
		Prefetching: m.prefetching.Load(), OpenFiles: m.served.OpenFiles(), Clone: v.Clone.Dir, Since: m.since,
	}
	for _, sub := range v.Subdatasets {
		if m.shown.view.Shown(sub.Node) {
			i.Subdatasets++
		}
	}
	if m.folder != nil {
		i.Catalogs, i.Subdatasets = m.request.Catalogs, len(m.folder.Names())
		i.Hints = m.folder.catalog.LeftOut()
	}
	for _, e := range m.entered() {
		i.Opened = append(i.Opened, e.told)
	}
	size := func(k int) int64 {
		if n := m.shown.files[k]; v.Kind(n) == tree.Annexed {
			return v.Size(n)
		}
		return -1
	}
	i.Cached = m.Cache.CountCached(len(m.shown.files), size, func(k int) annex.Key { return v.Key(m.shown.files[k]) })
	return i
}
