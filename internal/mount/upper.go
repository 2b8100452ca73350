package mount

import (
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"sync"

	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/upper"
)

// written is what is put over a mount's view.
type written struct {
	upper  *upper.Dir
	view   string     // where that is mounted: what is over it is seen at the target
	ending sync.Mutex // held while both are taken away
}

// drop gives up what was taken.
func (w *written) drop() {
	w.upper.Close()
	os.Remove(w.view)
}

// dropWritten gives up what was taken, unless somebody still writes there: then that is
// done at the end of the view. So the next one can write there as soon as this has gone.
func (m *Mount) dropWritten() {
	if m.written == nil {
		return
	}
	if m.served != nil {
		select {
		case <-m.served.Done():
		default:
			return
		}
	}
	m.written.drop()
}

// takeUpper takes the upper directory for this mount.
func (m *Mount) takeUpper() error {
	if m.folder != nil || m.request.Device != "" {
		return advice.New(advice.Usage, "what is written is kept over a mount of one dataset at a target", errors.New("this is another one"))
	}
	d, err := upper.Open(m.request.Writable, 0o777&^os.FileMode(m.request.Umask),
		upper.Place{What: "the cache", Path: string(m.Dir)}, upper.Place{What: "the dataset", Path: fetch.LocalPath(m.version.Spec())}, upper.Place{What: "the target", Path: m.Target()})
	if err != nil {
		return err
	}
	m.written = &written{upper: d}
	if err := os.MkdirAll(m.Dir.Below(), 0o700); err != nil {
		return err
	}
	if m.written.view, err = os.MkdirTemp(m.Dir.Below(), ""); err != nil {
		return err
	}
	view, err := json.Marshal(m.request.Listed(string(m.version.Commit)))
	if err != nil {
		return err
	}
	if err := d.Claim(m.version.Spec(), string(m.version.Commit), view); err != nil {
		return err
	}
	// The kernel's overlay looks at the view for everybody.
	if !m.request.AllowOther && os.Geteuid() == 0 {
		return d.Shut()
	}
	return nil
}

// viewAt is where the view is mounted.
func (m *Mount) viewAt() string {
	if m.written == nil {
		return m.Target()
	}
	return m.written.view
}

func (m *Mount) over() fs.Over {
	return fs.Over{Target: m.Target(), FsName: m.Dir.MountSource(), Others: m.request.AllowOther}
}

// cover puts the upper directory over the view, until one of the two ends.
func (m *Mount) cover() error {
	mounted := make(chan error)
	go m.Guard("what is put over a mount", func() {
		runtime.LockOSThread() // what the kernel does not do, a program does that ends with this thread
		defer runtime.UnlockOSThread()
		defer m.written.drop()
		gone, err := upper.Stack{Upper: m.written.upper.Path}.Mount(m.written.view, m.over())
		mounted <- err
		if err == nil {
			m.outlast(gone)
		}
		<-m.served.Done()
	})
	return <-mounted
}

// outlast takes the view away when what is over it has been, by whomever.
func (m *Mount) outlast(gone <-chan struct{}) {
	if gone == nil {
		if err := m.over().Wait(m.served.Done()); err != nil {
			m.Log.Warn("nobody looks whether a mount is taken away", "target", m.Target(), "reason", err)
			return
		}
	} else {
		<-gone
	}
	if err := m.uncover(true); err != nil {
		m.Log.Warn("a view stays that nothing is over", "target", m.Target(), "reason", err)
	}
}

// uncover takes away what is put over the view, and then that: nobody has to do with it
// otherwise.
func (m *Mount) uncover(lazy bool) error {
	m.written.ending.Lock()
	defer m.written.ending.Unlock()
	if err := m.over().Unmount(lazy); err != nil {
		return err
	}
	return m.served.Detach()
}
