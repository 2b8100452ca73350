package dataset_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset"
	"github.com/uniharmony/uniharmonyfs/internal/dataset/datasettest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// small is a dataset with an annexed image and files in git.
func small(name string) maker.Dataset {
	return maker.Dataset{Name: name, Tags: []string{"1.0"}, Files: []maker.File{
		{Path: "dataset_description.json", Data: []byte(`{"Name": "x", "BIDSVersion": "1.9.0"}`)},
		{Path: "sub-01/anat/sub-01_T1w.nii.gz", Size: 3000, Seed: 1, Annexed: true},
		{Path: "sub-02/anat/sub-02_T1w.nii.gz", Size: 4000, Seed: 2, Annexed: true},
	}}
}

func mustOpen(t *testing.T, c *datasettest.Cache, req control.Dataset) *dataset.Version {
	t.Helper()
	v, err := c.Datasets.Open(t.Context(), req, new(datasettest.Told).Tell)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Release)
	return v
}

// comes waits for a channel to be closed, for as long as nobody waits in vain.
func comes(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatalf("%s does not come", what)
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for n := 0; !is(); n++ {
		if n == 6000 {
			t.Fatalf("not so: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestOpenOfAKnownVersionNeedsNoNetwork(t *testing.T) {
	c := datasettest.New(t, 0)
	s, m := datasettest.Publish(t, small("known"))
	req := datasettest.Request(s, m)
	first := mustOpen(t, c, req)
	if string(first.Commit) != m.Commit() || first.Files() != 3 {
		t.Fatalf("commit %s, %d files", first.Commit, first.Files())
	}
	s.Close()
	again := mustOpen(t, c, req)
	if again.Listing != first.Listing {
		t.Error("the list of files is in memory twice")
	}
	if again.ID() != first.ID() || again.Spec() != req.Spec {
		t.Errorf("%s of %s, and %s", first.ID(), again.Spec(), again.ID())
	}
}

func TestOpenTellsWhatIsWrong(t *testing.T) {
	c := datasettest.New(t, 0)
	s, m := datasettest.Publish(t, small("right"))
	right := datasettest.Request(s, m)
	for name, tc := range map[string]struct {
		change func(*control.Dataset)
		kind   advice.Kind
	}{
		"no address":   {func(r *control.Dataset) { r.Spec = "ext::sh -c true" }, advice.Usage},
		"nothing":      {func(r *control.Dataset) { r.Spec = "" }, advice.Usage},
		"not there":    {func(r *control.Dataset) { r.Spec += "x" }, advice.Unreachable},
		"no such path": {func(r *control.Dataset) { r.Spec = "/does/not/exist" }, advice.Unreachable},
		"version":      {func(r *control.Dataset) { r.Version = "9.9" }, advice.Unreachable},
		"offline":      {func(r *control.Dataset) { r.Offline = true }, advice.Unreachable},
	} {
		req := right
		tc.change(&req)
		v, err := c.Datasets.Open(t.Context(), req, new(datasettest.Told).Tell)
		var told *advice.Error
		if v != nil || !errors.As(err, &told) || told.Kind != tc.kind || told.What == "" {
			t.Errorf("%s: %v, %#v", name, v, err)
		}
	}
	// Nothing of it is in the way, or held.
	mustOpen(t, c, right).Release()
	for _, name := range c.Datasets.Names() {
		if res, err := c.Datasets.Remove(t.Context(), name, new(datasettest.Told).Tell); err != nil || !res.Done {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
	}
	if left := c.Clones(); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// Those who want the same dataset at once wait for one clone, and are told so.
func TestOneCloneForAllWhoWait(t *testing.T) {
	c := datasettest.New(t, 0)
	s, m := datasettest.Publish(t, small("wanted"))
	began, open := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s.SetGitFault(func(publisher.Request) publisher.Fault {
		once.Do(func() { close(began) })
		<-open
		return nil
	})
	var told datasettest.Told
	var all sync.WaitGroup
	errs := make(chan error, 5)
	for range 5 {
		all.Go(func() {
			v, err := c.Datasets.Open(t.Context(), datasettest.Request(s, m), told.Tell)
			if err == nil {
				v.Release()
			}
			errs <- err
		})
	}
	comes(t, began, "the clone")
	eventually(t, "the others are told that they wait", func() bool { return len(told.Of("wait")) == 4 })
	// One of those who wait can leave.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Datasets.Open(ctx, datasettest.Request(s, m), told.Tell); !errors.Is(err, context.Canceled) {
		t.Errorf("who leaves is told %v", err)
	}
	close(open)
	all.Wait()
	for range 5 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if names := c.Datasets.Names(); len(names) != 1 || c.Datasets.ClonedFrom(names[0]) != s.GitURL(m) {
		t.Errorf("clones: %q", names)
	}
}

// A dataset is removed when those who hold it have ended, and is cloned anew
// afterwards.
func TestRemovalWaitsForRequests(t *testing.T) {
	c := datasettest.New(t, 0)
	s, m := datasettest.Publish(t, small("held"))
	v := mustOpen(t, c, datasettest.Request(s, m))
	var told datasettest.Told
	done := make(chan struct{})
	go func() {
		defer close(done)
		if res, err := c.Datasets.Remove(t.Context(), v.ID(), told.Tell); err != nil || !res.Done {
			t.Errorf("%+v, %v", res, err)
		}
	}()
	eventually(t, "the removal waits", func() bool { return len(told.Of("wait")) > 0 })
	if data, err := v.ReadNow(t.Context(), find(t, v, "dataset_description.json")); err != nil || !strings.Contains(string(data), "BIDSVersion") {
		t.Errorf("who holds it reads %q, %v", data, err)
	}
	select {
	case <-done:
		t.Fatal("it is removed while it is held")
	default:
	}
	v.Release()
	v.Release() // once more is no harm
	comes(t, done, "the removal")
	if left := c.Clones(); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	mustOpen(t, c, datasettest.Request(s, m))
	if left := c.Clones(); len(left) != 1 {
		t.Errorf("clones: %q", left)
	}
}

func TestRemovalCanBeGivenUp(t *testing.T) {
	c := datasettest.New(t, 0)
	s, m := datasettest.Publish(t, small("held"))
	v := mustOpen(t, c, datasettest.Request(s, m))
	ctx, cancel := context.WithCancel(t.Context())
	tell := func(p control.Progress) {
		if p.Phase == "wait" {
			cancel()
		}
	}
	if _, err := c.Datasets.Remove(ctx, v.ID(), tell); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	mustOpen(t, c, datasettest.Request(s, m)) // nothing is locked
}

// Nobody waits for the end of a mount.
func TestMountedDatasetIsNotRemoved(t *testing.T) {
	c := datasettest.New(t, 0)
	s, m := datasettest.Publish(t, small("mounted"))
	v := mustOpen(t, c, datasettest.Request(s, m))
	var told datasettest.Told
	ended := make(chan error, 1)
	go func() {
		_, err := c.Datasets.Remove(t.Context(), v.ID(), told.Tell)
		ended <- err
	}()
	eventually(t, "the removal waits", func() bool { return len(told.Of("wait")) > 0 })
	v.Mounted("/mnt/here")
	refused := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "/mnt/here") {
			t.Errorf("%s: %v", what, err)
		}
	}
	select {
	case err := <-ended:
		refused("who waited is told", err)
	case <-time.After(time.Minute):
		t.Fatal("who waited for the request waits for the mount")
	}
	_, err := c.Datasets.Remove(t.Context(), v.ID(), told.Tell)
	refused("who comes now is told", err)
	_, err = c.Datasets.Match([]string{"mounted"})
	refused("by its short name", err)
	refused("among all", c.Datasets.Unmounted(c.Datasets.Names()))
	// A request beside it changes nothing.
	mustOpen(t, c, datasettest.Request(s, m)).Release()
	refused("with a request", c.Datasets.Unmounted(c.Datasets.Names()))
	v.Release()
	if res, err := c.Datasets.Remove(t.Context(), v.ID(), told.Tell); err != nil || !res.Done {
		t.Errorf("after the unmount: %+v, %v", res, err)
	}
}

// What was cached through a dataset goes with it, and no more.
func TestRemovalDropsWhatItBrought(t *testing.T) {
	c := datasettest.New(t, 0)
	s, m := datasettest.Publish(t, small("gone"))
	other := datasettest.PublishAt(t, s, maker.Dataset{Name: "stays", Files: []maker.File{{Path: "sub-09/anat/sub-09_T1w.nii.gz", Size: 5000, Seed: 9, Annexed: true}}})
	bring := func(v *dataset.Version) {
		from, err := v.Origin()
		if err != nil {
			t.Fatal(err)
		}
		for n := range v.Len() {
			if strings.HasSuffix(v.Path(n), ".nii.gz") {
				if err := c.Cache.Fetch(t.Context(), v.Key(n), cache.Use{Origin: from, Dataset: v.ID(), Owner: v.ID() + ":x", Name: v.Path(n)}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	v, w := mustOpen(t, c, datasettest.Request(s, m)), mustOpen(t, c, datasettest.Request(s, other))
	bring(v)
	bring(w)
	v.Release()
	res, err := c.Datasets.Remove(t.Context(), v.ID(), new(datasettest.Told).Tell)
	if err != nil || res.Files != 2 || res.Bytes == 0 {
		t.Errorf("%+v, %v", res, err)
	}
	if st := c.Cache.Status(); st.Objects != 1 {
		t.Errorf("%d objects stay, want 1", st.Objects)
	}
	if res, err := c.Datasets.Remove(t.Context(), v.ID(), new(datasettest.Told).Tell); err != nil || res.Files != 0 {
		t.Errorf("once more: %+v, %v", res, err)
	}
}

// Who comes when all is closed is told so: a look into a subdataset may end late.
func TestNothingIsOpenedAfterClose(t *testing.T) {
	c := datasettest.New(t, 0)
	s, m := datasettest.Publish(t, small("late"))
	v := mustOpen(t, c, datasettest.Request(s, m))
	if err := c.Datasets.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Datasets.Open(t.Context(), datasettest.Request(s, m), new(datasettest.Told).Tell); !errors.Is(err, cache.ErrClosed) {
		t.Errorf("opening: %v", err)
	}
	if _, err := c.Datasets.Remove(t.Context(), v.ID(), new(datasettest.Told).Tell); !errors.Is(err, cache.ErrClosed) {
		t.Errorf("removing: %v", err)
	}
	v.Release()
}

func TestMatch(t *testing.T) {
	c := datasettest.New(t, 0)
	s, m := datasettest.Publish(t, small("ds1"))
	v := mustOpen(t, c, datasettest.Request(s, m))
	for _, want := range []string{v.ID(), "ds1"} {
		if got, err := c.Datasets.Match([]string{want}); err != nil || !slices.Equal(got, []string{v.ID()}) {
			t.Errorf("%s: %q, %v", want, got, err)
		}
	}
	for _, want := range []string{"ds", "ds1-", "../" + v.ID(), ""} {
		_, err := c.Datasets.Match([]string{want})
		if told := new(advice.Error); !errors.As(err, &told) || told.Kind != advice.NoMatch {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func find(t *testing.T, v *dataset.Version, path string) int {
	t.Helper()
	n, ok := v.Find(path)
	if !ok {
		t.Fatalf("%s is not there", path)
	}
	return n
}

// Whoever comes after the end is told so: a look into a subdataset may be on its way.
func TestNothingIsOpenedAfterTheEnd(t *testing.T) {
	c := datasettest.New(t, 0)
	s, m := datasettest.Publish(t, small("late"))
	req := datasettest.Request(s, m)
	name := mustOpen(t, c, req).ID()
	if err := c.Datasets.Close(); err != nil {
		t.Fatal(err)
	}
	if v, err := c.Datasets.Open(t.Context(), req, new(datasettest.Told).Tell); v != nil || !errors.Is(err, cache.ErrClosed) {
		t.Errorf("opened after the end: %v, %v", v, err)
	}
	if _, err := c.Datasets.Remove(t.Context(), name, new(datasettest.Told).Tell); !errors.Is(err, cache.ErrClosed) {
		t.Errorf("removed after the end: %v", err)
	}
}
