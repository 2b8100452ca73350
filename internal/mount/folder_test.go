package mount

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset/datasettest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// again is an age that every list has.
const again = time.Nanosecond

// folder makes a mount of the datasets of superdatasets, which is not served.
func (r *rig) folder(change func(*control.MountRequest), specs ...string) *Mount {
	r.t.Helper()
	req := control.MountRequest{
		Dataset:  control.Dataset{Template: r.server.URL + "/git/{id}.git", Fetcher: "native", AllowAddresses: []string{"127.0.0.1"}, Env: os.Environ()},
		Catalogs: specs, Target: "/mnt/x",
	}
	if change != nil {
		change(&req)
	}
	c, err := r.Datasets.Catalog(r.t.Context(), req.Dataset, specs, quiet)
	if err != nil {
		r.t.Fatal(err)
	}
	m, err := r.host.NewFolder(req, c)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(m.Close)
	return m
}

// super publishes a superdataset of study, which has an image and a subdataset, of an
// accession, and of gone; a second accession is published beside it.
func (r *rig) super() string {
	r.t.Helper()
	one := r.publish(images("ds000001", 1, 1000))
	r.publish(images("ds000002", 2, 2000))
	study := r.publish(datasettest.Super("study", map[string]*maker.Made{"ds000001": one}, images("study", 1, 3000).Files...))
	return r.server.GitURL(r.publish(datasettest.Super("super", map[string]*maker.Made{"study": study, "ds000001": one, "gone": nil}, maker.File{Path: "CHANGES"})))
}

// A folder lists the names of its catalog, and each is a directory of what a mount of it
// would show. What is known of names costs no request.
func TestFolder(t *testing.T) {
	r := newRig(t, 0)
	m := r.folder(nil, r.super())
	if got := m.fs.Members.Names(); !slices.Equal(got, []string{"ds000001", "gone", "study"}) || m.fs.View.Files() != 0 {
		t.Errorf("it lists %q and %d files", got, m.fs.View.Files())
	}
	find := func(name string) error { return m.fs.Members.Find(t.Context(), name) }
	r.asked.Store(0)
	for _, name := range []string{"ds000001", "gone", "study"} {
		if err := find(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"CHANGES", ".gitmodules", ".git", "README", "@", "study@", "@1.0", "Study", "ds1", "other", "other@1.0", ".Trash-1000", "\xff\xfe", strings.Repeat("x", 255), "study/README"} {
		if err := find(name); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("%q: %v", name, err)
		}
		if _, err := m.fs.Members.Enter(t.Context(), name); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("into %q: %v", name, err)
		}
	}
	if n := r.asked.Load(); n > 0 {
		t.Errorf("%d requests", n)
	}
	for name, files := range map[string]int{"ds000001": 2, "study": 2, "ds000002": 3, "ds000001@1.0": 2, "ds000002@1.0": 3} {
		if err := find(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		p, err := m.fs.Members.Enter(t.Context(), name)
		if err != nil || p.View.Files() != files {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := m.fs.Members.Enter(t.Context(), name)
		if again != p || err != nil {
			t.Errorf("%s is another one the second time: %v", name, err)
		}
	}
	// Within a member is another dataset, at its own path.
	found, err := m.Find("/mnt/x/study")
	if err != nil || len(found) != 1 || len(found[0].Nodes) != 2 || found[0].path != "study" {
		t.Fatalf("%v, %v", found, err)
	}
	if inner := r.within(found[0].Part, "ds000001"); inner.path != "study/ds000001" || inner.level != 2 {
		t.Errorf("%q, level %d", inner.path, inner.level)
	}
	if n := len(m.parts()); n != 7 {
		t.Errorf("%d parts", n)
	}
	m.Close()
	r.Free(t)
}

// What there is not is found out once in some seconds, is no dataset that fails, and may
// come.
func TestFolderHasNot(t *testing.T) {
	r := newRig(t, 0)
	m := r.folder(nil, r.super())
	for _, name := range []string{"ds000404", "ds000001@9.9", "study@9.9"} {
		for try := range 2 {
			if err := m.fs.Members.Find(t.Context(), name); !errors.Is(err, iofs.ErrNotExist) {
				t.Errorf("%s: %v", name, err)
			}
			if n := r.asked.Swap(0); (n > 0) != (try == 0) {
				t.Errorf("%s: %d requests", name, n)
			}
		}
		told := new(advice.Error)
		if _, err := m.Find("/mnt/x/" + name + "/README"); !errors.As(err, &told) || told.Kind != advice.NoMatch || told.Why == "" {
			t.Errorf("a path in %s: %v", name, err)
		}
		if all := m.NotEntered("/mnt/x/" + name); len(all) != 0 {
			t.Errorf("%s is told of: %+v", name, all)
		}
	}
	if _, err := m.fs.Members.Enter(t.Context(), "gone"); !errors.Is(err, syscall.EREMOTEIO) {
		t.Errorf("what is listed and nowhere: %v", err)
	}
	if all := m.NotEntered("/mnt/x"); len(all) != 1 || all[0].Path != "gone" || len(all[0].Errors) != 1 {
		t.Errorf("not had: %+v", all)
	}
	for path, want := range map[string]string{"study": "study", "study/a/b": "study", "ds000002/x": "ds000002", "ds000001@1.0": "ds000001@1.0", "CHANGES": "", "other": "", "study@": ""} {
		all := m.NotEntered("/mnt/x/" + path)
		if len(all) > 1 || (len(all) == 1) != (want != "") || want != "" && all[0].Path != want {
			t.Errorf("at %s nobody has looked into %+v", path, all)
		}
		told := new(advice.Error)
		if _, err := m.Find("/mnt/x/" + path); !errors.As(err, &told) || (told.Kind == advice.NoMatch) != (want == "") {
			t.Errorf("%s: %v", path, err)
		}
	}
	r.publish(images("ds000404", 1, 10))
	m.longAgo("ds000404")
	if err := m.fs.Members.Find(t.Context(), "ds000404"); err != nil {
		t.Error(err)
	}
	m.Close()
	r.Free(t)
}

// What cannot be reached is not denied.
func TestFolderOutOfReach(t *testing.T) {
	r := newRig(t, 0)
	super := r.super()
	r.folder(nil, super).Close()
	m := r.folder(func(req *control.MountRequest) { req.Offline = true }, super)
	for _, name := range []string{"ds000002", "ds000001@1.0", "study@1.0"} {
		if err := m.fs.Members.Find(t.Context(), name); errors.Is(err, iofs.ErrNotExist) || !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("offline: %s: %v", name, err)
		}
	}
	m.Close()
	m = r.folder(nil, super)
	r.server.SetGitFault(publisher.Always(publisher.Drop(-1)))
	if err := m.fs.Members.Find(t.Context(), "ds000002"); errors.Is(err, iofs.ErrNotExist) || !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("of a server that is away: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan struct{})
	var once sync.Once
	r.server.SetGitFault(func(publisher.Request) publisher.Fault {
		once.Do(func() { close(asked) })
		return publisher.Stall(-1)
	})
	go func() {
		<-asked
		cancel()
	}()
	if err := m.fs.Members.Find(ctx, "ds000003"); !errors.Is(err, context.Canceled) {
		t.Errorf("who leaves is told %v", err)
	}
	m.Close()
	eventually(t, "the look is over", func() bool { return r.behind.Load() == 0 })
	r.Free(t)
}

// A folder of two superdatasets of which one comes late; a selection is each member's.
func TestFolderThatGrows(t *testing.T) {
	r := newRig(t, 0)
	super := r.super()
	late := strings.Replace(super, "super.git", "late.git", 1)
	target := t.TempDir()
	m := r.folder(func(req *control.MountRequest) {
		req.Target = target
		req.Selection = bids.Selection{Entities: map[string][]string{"sub": {"02"}}}
	}, late, super)
	r.serve(m)
	if info := m.Info(); info.Subdatasets != 3 || len(info.Catalogs) != 2 || len(info.Hints) != 1 || !strings.Contains(info.Hints[0], late) {
		t.Errorf("%+v", info)
	}
	if got := r.runs("ls", target); got != "ds000001\ngone\nstudy\n" {
		t.Errorf("it lists\n%s", got)
	}
	if got := r.runs("find", target+"/ds000002", "-type", "f"); !strings.Contains(got, image(2)) || strings.Contains(got, image(1)) {
		t.Errorf("of a selection there is\n%s", got)
	}
	if got := r.runs("ls", target+"/ds000001"); strings.Contains(got, "sub-") {
		t.Errorf("of what is left out there is\n%s", got)
	}
	r.publish(datasettest.Super("late", map[string]*maker.Made{"zz": nil}))
	if came, err := m.folder.catalog.Refresh(t.Context(), again); !came || err != nil {
		t.Errorf("%v, %v", came, err)
	}
	m.served.Relist()
	if got := r.runs("ls", target); got != "ds000001\ngone\nstudy\nzz\n" {
		t.Errorf("it lists\n%s", got)
	}
	if info := m.Info(); info.Subdatasets != 4 || len(info.Hints) != 0 || len(info.Opened) != 2 {
		t.Errorf("%+v", info)
	}
	for _, name := range r.Datasets.Names() {
		if _, err := r.Datasets.Remove(t.Context(), name, quiet); err == nil || !strings.Contains(err.Error(), target) {
			t.Errorf("%s can be removed: %v", name, err)
		}
	}
	if err := m.Unmount(); err != nil {
		t.Fatal(err)
	}
	comes(t, m.Done(), "the end of the mount")
	m.Close()
	eventually(t, "the list is looked at no more", func() bool { return r.behind.Load() == 0 })
	r.Free(t)
}

// Many look for members, listed and not, while the list grows and the mount ends.
func TestFolderAtOnce(t *testing.T) {
	r := newRig(t, 0)
	super := r.super()
	m := r.folder(nil, super)
	var all sync.WaitGroup
	for n := range 16 {
		all.Go(func() {
			name := []string{"ds000001", "ds000002", "study", "gone", "ds000404", "ds000002@1.0", "study@none", "ds000001@"}[n%8]
			for k := range 10 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+n*k)*time.Millisecond)
				m.fs.Members.Find(ctx, name)
				m.fs.Members.Enter(ctx, name)
				cancel()
				m.NotEntered("/mnt/x/" + name)
				m.fs.Members.Names()
			}
		})
	}
	all.Go(func() {
		for range 5 {
			m.folder.catalog.Refresh(m.ctx, again)
		}
	})
	for n := range 3 {
		members := map[string]*maker.Made{"ds000001": nil}
		for k := range n + 1 {
			members[fmt.Sprint("new-", k)] = nil
		}
		r.publish(datasettest.Super("super", members))
		time.Sleep(100 * time.Millisecond)
	}
	m.Close()
	all.Wait()
	eventually(t, "all looks are over", func() bool { return r.behind.Load() == 0 })
	if len(m.parts()) > 6 || r.panics.Load() > 0 {
		t.Errorf("%d parts, %d panics", len(m.parts()), r.panics.Load())
	}
	r.Free(t)
}
