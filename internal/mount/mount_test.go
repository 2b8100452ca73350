package mount

import (
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset/datasettest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// rig is what mounts are made of, and a server of datasets.
type rig struct {
	*datasettest.Cache
	t      *testing.T
	host   Host
	server *publisher.Server
	asked  atomic.Int32 // how many requests git has made
	panics atomic.Int32
	behind atomic.Int32 // what runs behind the mounts
}

func newRig(t *testing.T, budget int64) *rig {
	t.Helper()
	r := &rig{Cache: datasettest.New(t, budget), t: t}
	var err error
	if r.server, err = publisher.New(publisher.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.server.Close() })
	r.server.SetGitFault(func(publisher.Request) publisher.Fault { r.asked.Add(1); return nil })
	r.host = Host{Dir: r.Dir, Cache: r.Cache.Cache, Datasets: r.Datasets, Log: slog.New(slog.NewTextHandler(r.Log, nil)), Guard: r.guard}
	return r
}

func (r *rig) guard(what string, fn func()) (err error) {
	r.behind.Add(1)
	defer r.behind.Add(-1)
	defer func() {
		if p := recover(); p != nil {
			r.panics.Add(1)
			err = fmt.Errorf("%s: %v", what, p)
		}
	}()
	fn()
	return nil
}

func (r *rig) publish(d maker.Dataset) *maker.Made {
	r.t.Helper()
	return datasettest.PublishAt(r.t, r.server, d)
}

func image(n int) string { return fmt.Sprintf("sub-%02d/anat/sub-%02d_T1w.nii.gz", n, n) }

// images is a dataset of so many of them, of so many bytes each.
func images(name string, count int, size int64) maker.Dataset {
	d := maker.Dataset{Name: name, Tags: []string{"1.0"}, Files: []maker.File{{Path: "README", Data: []byte("of " + name)}}}
	for n := 1; n <= count; n++ {
		d.Files = append(d.Files, maker.File{Path: image(n), Size: size, Seed: uint64(n), Annexed: true})
	}
	return d
}

// nested publishes a dataset with two images and three subdatasets: inner, which has
// images and another one within it, gone, which is nowhere, and deep/plain.
func (r *rig) nested() *maker.Made {
	r.t.Helper()
	deeper := r.publish(images("deeper", 1, 1000))
	inner := r.publish(datasettest.Super("inner", map[string]*maker.Made{"deeper": deeper}, images("inner", 2, 3000).Files...))
	plain := r.publish(maker.Dataset{Name: "plain", Files: []maker.File{{Path: "README", Data: []byte("of plain")}}})
	return r.publish(datasettest.Super("outer", map[string]*maker.Made{"inner": inner, "gone": nil, "deep/plain": plain}, images("outer", 2, 2000).Files...))
}

func (r *rig) request(m *maker.Made) control.MountRequest {
	return control.MountRequest{Dataset: datasettest.Request(r.server, m), Target: "/mnt/x", NoReadAhead: true}
}

// mount makes a mount that is not served.
func (r *rig) mount(req control.MountRequest) *Mount {
	r.t.Helper()
	v, err := r.Datasets.Reach(r.t.Context(), req.Dataset, req.Selection, quiet)
	if err != nil {
		r.t.Fatal(err)
	}
	c := v.Chooser(Owner(v, req.Target), quiet)
	c.Below = req.Levels() > 0
	chosen, err := c.Choose(r.t.Context(), req.Selection)
	if err != nil {
		r.t.Fatal(err)
	}
	m, err := r.host.New(req, v, chosen)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(m.Close)
	return m
}

// serve mounts at a target of its own, which only other processes look into.
func (r *rig) serve(m *Mount) {
	r.t.Helper()
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		r.t.Skip("skipped: no FUSE on this machine: ", err)
	} else {
		f.Close()
	}
	if err := m.Serve(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := m.Detach(); err != nil {
			r.t.Error(err)
		}
		<-m.Done()
	})
}

// runs is what another process prints.
func (r *rig) runs(args ...string) string {
	r.t.Helper()
	out, err := exec.CommandContext(r.t.Context(), args[0], args[1:]...).CombinedOutput()
	if err != nil {
		r.t.Errorf("%q: %s, %v", args, out, err)
	}
	return string(out)
}

func (p *Part) at(t *testing.T, path string) int {
	t.Helper()
	n, ok := p.shown.view.Find(path)
	if !ok {
		t.Fatalf("%s is not shown", path)
	}
	return n
}

// within looks into a subdataset of a part.
func (r *rig) within(p *Part, path string) *Part {
	r.t.Helper()
	got, err := p.Enter(r.t.Context(), p.at(r.t, path))
	if err != nil {
		r.t.Fatal(err)
	}
	return got.Opener.(*Part)
}

func comes(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatalf("%s does not come", what)
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for n := 0; !is(); n++ {
		if n == 6000 {
			t.Fatalf("not so: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// What is mounted is held, with all that was looked into, until its end.
func TestMountHoldsWhatItShows(t *testing.T) {
	r := newRig(t, 0)
	req := r.request(r.nested())
	req.Target = filepath.Join(t.TempDir(), "mnt")
	if err := os.Mkdir(req.Target, 0o755); err != nil {
		t.Fatal(err)
	}
	m := r.mount(req)
	r.serve(m)
	r.runs("ls", filepath.Join(req.Target, "inner", "deeper"))
	names := r.Datasets.Names()
	if len(names) != 3 {
		t.Fatalf("%q", names)
	}
	top := m.version.ID() + ":" + req.Target
	for _, name := range names {
		if !m.has(name) || !m.Owns(top) || !m.Owns(name+":"+top) || m.Owns(name+":"+req.Target) != (name == m.version.ID()) || m.Owns(name+":"+top+"2") {
			t.Errorf("%s is not of the mount", name)
		}
		if _, err := r.Datasets.Remove(t.Context(), name, quiet); err == nil || !strings.Contains(err.Error(), req.Target) {
			t.Errorf("%s can be removed: %v", name, err)
		}
	}
	if m.has("other") {
		t.Error("it has any dataset")
	}
	if err := m.Unmount(); err != nil {
		t.Fatal(err)
	}
	comes(t, m.Done(), "the end of the mount")
	m.Close()
	m.Close()
	r.Free(t)
	if _, err := m.Enter(t.Context(), m.at(t, "deep/plain")); err == nil {
		t.Error("a mount that is closed is looked into")
	}
	r.Free(t)
}

// What a mount says of itself, to requests and in its hidden directory.
func TestInfo(t *testing.T) {
	r := newRig(t, 0)
	made := r.nested()
	req := r.request(made)
	req.Target = t.TempDir()
	m := r.mount(req)
	// The kernel may ask before the mount is known here.
	early := make(chan error, 1)
	go func() {
		var err error
		if panicked := r.guard("status", func() { _, err = m.Read("status") }); panicked != nil {
			err = panicked
		}
		early <- err
	}()
	time.Sleep(10 * time.Millisecond)
	r.serve(m)
	select {
	case err := <-early:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("who asks while it is mounted has no answer")
	}
	r.runs("cat", filepath.Join(req.Target, "inner", image(1)), filepath.Join(req.Target, image(1)))
	info := m.Info()
	if info.Dataset != req.Spec || info.Commit != made.Commit() || info.Files != 3 || info.Subdatasets != 3 || info.Cached != 1 || info.Target != req.Target {
		t.Errorf("%+v", info)
	}
	if len(info.Opened) != 1 || info.Opened[0].Path != "inner" || info.Opened[0].Files != 3 || info.Opened[0].Dataset == "" {
		t.Errorf("opened: %+v", info.Opened)
	}
	var said control.MountInfo
	if err := json.Unmarshal([]byte(r.runs("cat", filepath.Join(req.Target, ".uniharmonyfs", "status"))), &said); err != nil || said.Commit != info.Commit {
		t.Errorf("the status says %+v, %v", said, err)
	}
	if out := r.runs("cat", filepath.Join(req.Target, ".uniharmonyfs", "dataset")); !strings.Contains(out, made.Commit()) || !strings.Contains(out, req.Spec) {
		t.Errorf("the dataset is\n%s", out)
	}
	for _, name := range m.Names() {
		if _, err := m.Read(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := m.Read("other"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("what there is not: %v", err)
	}
}

// What cannot be mounted leaves nobody waiting.
func TestServeThatFails(t *testing.T) {
	r := newRig(t, 0)
	req := r.request(r.nested())
	req.Target = filepath.Join(t.TempDir(), "nowhere")
	m := r.mount(req)
	key := m.version.Key(m.at(t, image(1)))
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Revoke(key, "")
	}()
	if err := m.Serve(); err == nil {
		t.Fatal("it is served nowhere")
	}
	comes(t, done, "the end of a revocation")
	if _, err := m.Read("status"); err == nil {
		t.Error("it tells how it is")
	}
	m.Close()
	r.Free(t)
}
