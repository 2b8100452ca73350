package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/index"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset/datasettest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// The budget and the speed are kept in one file, and neither is lost when both
// change at once.
func TestSettingsThatChangeAtOnce(t *testing.T) {
	c := datasettest.New(t, 0)
	s := &settings{dir: c.Dir, cache: c.Cache, log: slog.New(slog.DiscardHandler)}
	for n := range int64(50) {
		var both sync.WaitGroup
		both.Go(func() {
			if err := s.SetBudget(1<<30 + n); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() { s.SetSpeed(float64(n)) })
		both.Wait()
		if now := s.get(); now.Budget != 1<<30+n || s.Speed() != float64(n) || c.Cache.Budget() != 1<<30+n {
			t.Fatalf("%d: %+v, the budget is %d", n, now, c.Cache.Budget())
		}
	}
	// A budget that cannot be kept is none.
	if err := os.Mkdir(filepath.Join(string(c.Dir), "settings.json.new"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.SetBudget(5 << 30); err == nil || c.Cache.Budget() == 5<<30 {
		t.Errorf("%v, the budget is %d", err, c.Cache.Budget())
	}
}

// What the ledger was told comes back, and what it does not understand is left
// out: the object is hashed again.
func TestLedger(t *testing.T) {
	dir := cachedir.Dir(t.TempDir())
	x, err := index.Open(dir.Index(), index.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	l := ledger{x.Table(index.Objects)}
	var records []cache.Record
	for n := range 3 {
		k, err := annex.ParseKey(fmt.Sprintf("MD5-s%d--%032x", n, n))
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, cache.Record{Key: k, Size: int64(n), Seq: uint64(n), Owner: fmt.Sprint("o", n)})
	}
	if err := l.Save(records, nil); err != nil {
		t.Fatal(err)
	}
	changed := records[1]
	changed.Owner = "another"
	if err := l.Save([]cache.Record{changed}, []annex.Key{records[0].Key}); err != nil {
		t.Fatal(err)
	}
	err = l.table.Save(func(b *index.Batch) error {
		return errors.Join(b.Set("no key", records[2].Encode()), b.Set("MD5-s9--"+strings.Repeat("0", 32), []byte{0x80}))
	})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[annex.Key]cache.Record)
	if err := l.Load(func(r cache.Record) { got[r.Key] = r }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[changed.Key] != changed || got[records[2].Key] != records[2] {
		t.Errorf("%+v", got)
	}
}

// aheadDataset has images of two kinds, one with partners.
func aheadDataset() (d maker.Dataset) {
	d = maker.Dataset{Name: "ahead", Tags: []string{"1.0"}, Files: []maker.File{{Path: "dataset_description.json", Data: []byte(`{"Name": "x", "BIDSVersion": "1.9.0"}`)}}}
	for n := 1; n <= 6; n++ {
		for i, end := range []string{"dwi.nii.gz", "dwi.bval", "sbref.nii.gz"} {
			d.Files = append(d.Files, maker.File{Path: fmt.Sprintf("sub-%02d/dwi/sub-%02d_%s", n, n, end), Size: 2 << 20, Seed: uint64(10*n + i), Annexed: true})
		}
	}
	return d
}

// What is like the files that are read, and comes next, is looked at ahead, with
// its partners: nothing else, nothing that the mount does not show, and nothing at
// all in a mount that wants none of it.
func TestReadingAhead(t *testing.T) {
	b := newRig(t)
	made := datasettest.PublishAt(t, b.server, aheadDataset())
	for _, none := range []bool{true, false} {
		req := b.mountRequest("mnt", "01", "02", "03", "04")
		req.Spec, req.NoReadAhead = b.server.GitURL(made), none
		if _, err := b.Mount(t.Context(), req, nil); err != nil {
			t.Fatal(err)
		}
		file := func(sub int, end string) string {
			return filepath.Join(b.path("mnt"), fmt.Sprintf("sub-%02d/dwi/sub-%02d_%s", sub, sub, end))
		}
		for _, sub := range []int{1, 2} {
			b.head(file(sub, "dwi.nii.gz"))
		}
		here := func(sub int, end string) bool {
			return b.status(file(sub, end)).Paths[0].State != control.Missing
		}
		if !none {
			b.eventually("the next one is looked at", func() bool { return here(3, "dwi.nii.gz") })
			b.eventually("the partner is looked at", func() bool { return here(2, "dwi.bval") })
		}
		b.eventually("nothing is under way", func() bool { return len(b.status().Store.Transfers) == 0 })
		if none && (here(3, "dwi.nii.gz") || here(2, "dwi.bval")) {
			t.Error("read ahead where that is not wanted")
		}
		for _, sub := range []int{1, 2, 3, 4} {
			if here(sub, "sbref.nii.gz") {
				t.Errorf("the reference of %d was looked at", sub)
			}
		}
		b.unmount("mnt")
		list := control.ListRequest{Dataset: req.Dataset, Selection: bids.Selection{Entities: map[string][]string{"sub": {"05", "06"}}}}
		if res, files := b.list(list); res.Cached > 1 {
			t.Errorf("what is not shown was looked at: %+v", files)
		}
	}
}

// head has another process read the start of a file.
func (b *rig) head(path string) {
	b.t.Helper()
	if out, err := exec.Command("head", "-c", "1000", path).Output(); err != nil || len(out) != 1000 {
		b.t.Fatalf("%s: %d bytes, %v", path, len(out), err)
	}
}

// ask sends a request without a body and returns the whole answer.
func (b *rig) ask(request string) string {
	b.t.Helper()
	c, err := control.Dial(b.t.Context(), b.dir.Socket())
	if err != nil {
		b.t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: cache\r\nConnection: close\r\n\r\n", request)
	answer, err := io.ReadAll(c)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(answer)
}

// A mount that is taken away takes its prefetching along, and keeps no daemon.
func TestPrefetchEndsWithItsMount(t *testing.T) {
	b := newRig(t)
	open := make(chan struct{})
	defer close(open)
	b.server.SetFault(func(publisher.Request) publisher.Fault { <-open; return nil })
	req := b.mountRequest("mnt")
	req.Prefetch = true
	info, err := b.Mount(t.Context(), req, nil)
	if err != nil || !info.Prefetching {
		t.Fatalf("%+v, %v", info, err)
	}
	b.unmount("mnt")
	b.eventually("nothing is fetched any more", func() bool {
		return strings.Contains(b.ask("GET /v1/hello"), `"work":[]`)
	})
}

// Of two mounts at one target at the same moment there is one.
func TestTwoMountsAtOneTarget(t *testing.T) {
	b := newRig(t)
	b.mount("first") // the dataset is known
	var both sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		both.Go(func() { _, errs[i] = b.Mount(t.Context(), b.mountRequest("one"), nil) })
	}
	both.Wait()
	mounted := 0
	for _, err := range errs {
		if err == nil {
			mounted++
		} else {
			refused(t, "another", err, advice.CannotMount, "mounted")
		}
	}
	if s := b.status(); mounted != 1 || len(s.Mounts) != 2 {
		t.Errorf("%d were mounted, %d are", mounted, len(s.Mounts))
	}
	b.reads("one", image1)
	b.unmount("one")
	b.unmount("first")
}
