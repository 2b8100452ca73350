package download_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
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
	"github.com/uniharmony/uniharmonyfs/internal/download"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// bench is a cache, a published dataset, and downloads of it.
type bench struct {
	*datasettest.Cache
	t      *testing.T
	server *publisher.Server
	made   *maker.Made
	gets   *download.Downloads
	target string

	settings settings
	mounts   []string
}

// settings are kept in memory.
type settings struct {
	budget        int64
	speed, perSec float64
}

func (s *settings) SetBudget(bytes int64) error { s.budget = bytes; return nil }
func (s *settings) Speed() float64              { return s.speed }
func (s *settings) SetSpeed(perSec float64)     { s.perSec = perSec }

const image1, image2 = "sub-01/anat/sub-01_T1w.nii.gz", "sub-02/anat/sub-02_T1w.nii.gz"

func newBench(t *testing.T, budget int64, more ...maker.File) *bench {
	t.Helper()
	d := maker.Dataset{Name: "ds", Tags: []string{"1.0"}, Files: append([]maker.File{
		{Path: "dataset_description.json", Data: []byte(`{"Name": "x", "BIDSVersion": "1.9.0"}`)},
		{Path: "participants.tsv", Data: []byte("participant_id\tage\nsub-01\t20\nsub-02\t30\n")},
		{Path: image1, Size: 300_000, Seed: 1, Annexed: true},
		{Path: image2, Size: 400_000, Seed: 2, Annexed: true},
	}, more...)}
	b := &bench{Cache: datasettest.New(t, budget), t: t, target: filepath.Join(t.TempDir(), "new", "target")}
	b.server, b.made = datasettest.Publish(t, d)
	b.gets = download.New(download.Options{
		Dir: b.Dir, Cache: b.Cache.Cache, Datasets: b.Datasets, Git: b.Git, Guard: datasettest.Guard, Settings: &b.settings,
		Mounts: func() []string { return b.mounts },
	})
	return b
}

// out keeps what a download tells.
type out struct {
	datasettest.Told
	mu    sync.Mutex
	plans []control.Plan
}

func (o *out) Progress(p control.Progress) { o.Tell(p) }
func (o *out) Flush()                      {}
func (o *out) Item(v any) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.plans = append(o.plans, v.(control.Plan))
	return nil
}

// request asks for all, or for some subjects.
func (b *bench) request(subjects ...string) control.GetRequest {
	req := control.GetRequest{Dataset: datasettest.Request(b.server, b.made), Target: b.target, Umask: 0o027}
	if len(subjects) > 0 {
		req.Selection = bids.Selection{Entities: map[string][]string{"sub": subjects}}
	}
	return req
}

func (b *bench) get(req control.GetRequest) (control.GetResult, *out, error) {
	o := new(out)
	res, err := b.gets.Get(b.t.Context(), req, o)
	return res, o, err
}

// must downloads what no file of fails.
func (b *bench) must(req control.GetRequest) (control.GetResult, control.Plan) {
	b.t.Helper()
	res, o, err := b.get(req)
	if err != nil || len(res.Failed) > 0 || len(o.plans) != 1 {
		b.t.Fatalf("%+v, plans %+v, %v", res, o.plans, err)
	}
	return res, o.plans[0]
}

// has checks that the target has exactly these files, with their content.
func (b *bench) has(want ...string) {
	b.t.Helper()
	var got []string
	filepath.WalkDir(b.target, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			rel, _ := filepath.Rel(b.target, path)
			got = append(got, rel)
		}
		return nil
	})
	if !slices.Equal(got, want) {
		b.t.Fatalf("the target has %q, want %q", got, want)
	}
	for _, name := range got {
		if strings.HasSuffix(name, ".nii.gz") {
			b.isWhole(name)
		}
	}
}

func (b *bench) isWhole(name string) {
	b.t.Helper()
	data, err := os.ReadFile(filepath.Join(b.target, name))
	if err != nil || !bytes.Equal(data, datasettest.Content(b.t, b.made, name)) {
		b.t.Errorf("%s: %d bytes, %v", name, len(data), err)
	}
}

var allFiles = []string{"dataset_description.json", "participants.tsv", image1, image2}

func TestGet(t *testing.T) {
	b := newBench(t, 0)
	req := b.request()
	req.DryRun = true
	res, plan := b.must(req)
	if plan.Files != 4 || plan.FetchFiles != 2 || plan.FetchBytes != 700_000 || plan.ThereFiles != 0 || plan.FreeBytes == 0 || res.FetchedBytes != 0 {
		t.Errorf("dry run: %+v, %+v", plan, res)
	}
	if _, err := os.Lstat(filepath.Dir(b.target)); err == nil {
		t.Error("a dry run makes the target")
	}
	res, _ = b.must(b.request())
	if res.Files != 4 || res.FetchedBytes != 700_000 || res.Bytes != plan.Bytes {
		t.Errorf("%+v", res)
	}
	b.has(allFiles...)
	for name, mode := range map[string]fs.FileMode{image1: 0o640, "sub-01": 0o750 | fs.ModeDir, ".": 0o750 | fs.ModeDir, "..": 0o750 | fs.ModeDir} {
		st, err := os.Lstat(filepath.Join(b.target, name))
		if err != nil || st.Mode() != mode {
			t.Errorf("%s has the mode %v, want %v (%v)", name, st.Mode(), mode, err)
		}
		if name == image1 && !st.ModTime().Equal(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%s is of %v", name, st.ModTime())
		}
	}
	sent := b.server.Counts().Bytes
	res, plan = b.must(b.request())
	if plan.ThereFiles != 4 || res.FetchedBytes != 0 || res.Files != 4 || b.server.Counts().Bytes != sent {
		t.Errorf("again: %+v, %+v", plan, res)
	}
	// What was lost comes again, from the cache.
	os.Remove(filepath.Join(b.target, image2))
	if res, plan = b.must(b.request()); plan.CachedFiles != 1 || res.FetchedBytes != 0 || b.server.Counts().Bytes != sent {
		t.Errorf("one was lost: %+v, %+v", plan, res)
	}
	b.has(allFiles...)
}

func TestGetLeavesTheCacheAsItWas(t *testing.T) {
	b := newBench(t, 0)
	b.must(b.request("01"))
	req := b.request("02")
	req.TmpClean = true
	b.must(req)
	if st := b.Cache.Cache.Status(); st.Objects != 1 || st.Used < 300_000 || st.Used >= 400_000 {
		t.Errorf("%d objects with %d bytes stay", st.Objects, st.Used)
	}
	b.has(allFiles...)
}

// Several downloads into one directory are one dataset.
func TestGetMakesOneDatasetOfTwo(t *testing.T) {
	b := newBench(t, 0)
	table := func() string {
		data, _ := os.ReadFile(filepath.Join(b.target, "participants.tsv"))
		return string(data)
	}
	b.must(b.request("01"))
	if got := table(); strings.Contains(got, "sub-02") || !strings.Contains(got, "sub-01") {
		t.Errorf("of one: %q", got)
	}
	b.must(b.request("02"))
	if got := table(); !strings.Contains(got, "sub-02") || !strings.Contains(got, "sub-01") {
		t.Errorf("of both: %q", got)
	}
	// A table of the user's own is not replaced.
	if err := os.WriteFile(filepath.Join(b.target, "participants.tsv"), []byte("participant_id\tmine\nsub-01\t1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	res, _, err := b.get(b.request())
	if err != nil || len(res.Failed) != 1 || res.Failed[0].Path != "participants.tsv" {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestGetKeepsWhatDiffers(t *testing.T) {
	b := newBench(t, 0)
	mine := filepath.Join(b.target, image1)
	if err := errors.Join(os.MkdirAll(filepath.Dir(mine), 0o755), os.WriteFile(mine, []byte("mine"), 0o644)); err != nil {
		t.Fatal(err)
	}
	res, _, err := b.get(b.request())
	if err != nil || len(res.Failed) != 1 || res.Failed[0].Path != image1 || !strings.Contains(res.Failed[0].Why, "--force") || res.Files != 3 {
		t.Errorf("%+v, %v", res, err)
	}
	if data, _ := os.ReadFile(mine); string(data) != "mine" {
		t.Error("it is overwritten")
	}
	// Of the same size and time, but changed in between: hashed, and seen.
	req := b.request()
	req.Force = true
	b.must(req)
	b.has(allFiles...)
	changed := datasettest.Content(t, b.made, image1)
	changed[7] ^= 1
	if err := os.WriteFile(mine, changed, 0o644); err != nil {
		t.Fatal(err)
	}
	if res, _, err := b.get(b.request()); err != nil || len(res.Failed) != 1 {
		t.Errorf("changed: %+v, %v", res, err)
	}
}

// Nothing is written through links, whoever put them there.
func TestGetWritesThroughNoLink(t *testing.T) {
	b := newBench(t, 0)
	elsewhere := t.TempDir()
	if err := errors.Join(os.MkdirAll(b.target, 0o755), os.Symlink(elsewhere, filepath.Join(b.target, "sub-01"))); err != nil {
		t.Fatal(err)
	}
	req := b.request()
	req.Force = true
	res, _, err := b.get(req)
	if err != nil || len(res.Failed) != 1 || !strings.Contains(res.Failed[0].Why, "link") {
		t.Errorf("%+v, %v", res, err)
	}
	if left, _ := os.ReadDir(elsewhere); len(left) > 0 {
		t.Errorf("written through the link: %v", left)
	}
}

func TestGetRefusesTargets(t *testing.T) {
	b := newBench(t, 0)
	b.mounts = []string{filepath.Join(t.TempDir(), "mnt")}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(string(b.Dir), link); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{
		"relative": "target", "the cache": string(b.Dir), "in the cache": string(b.Dir) + "/objects/x", "above the cache": filepath.Dir(string(b.Dir)),
		"a link to the cache": link + "/x", "in a mount": b.mounts[0] + "/sub", "a mount": b.mounts[0], "git's own": b.target + "/.git/x", "git's own, otherwise": b.target + "/.GIT",
	} {
		req := b.request()
		req.Target = target
		_, _, err := b.get(req)
		if told := new(advice.Error); !errors.As(err, &told) || told.Kind != advice.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := b.server.Counts(); got.Bytes != 0 {
		t.Errorf("%d bytes were sent", got.Bytes)
	}
}

// A failure is told, and stops nobody; a target of which nothing came is gone.
func TestGetTellsWhatFails(t *testing.T) {
	b := newBench(t, 0)
	b.server.SetFault(func(r publisher.Request) publisher.Fault {
		if strings.Contains(r.Path, "sub-02") {
			return publisher.Status(404, 0)
		}
		return nil
	})
	res, o, err := b.get(b.request())
	if err != nil || len(res.Failed) != 1 || res.Failed[0].Path != image2 || !strings.Contains(res.Failed[0].Why, "404") || res.Files != 3 {
		t.Errorf("%+v, %v", res, err)
	}
	b.has(allFiles[:3]...)
	if all := o.Of("get"); len(all) == 0 || all[len(all)-1].Failed != 1 || all[len(all)-1].Files != 3 {
		t.Errorf("told: %+v", all)
	}
	b.target += "-other"
	req := b.request("99")
	if _, _, err := b.get(req); err == nil {
		t.Error("there is no such subject")
	}
	if _, err := os.Lstat(b.target); err == nil {
		t.Error("its target is there")
	}
}

func TestGetThatIsCutOffGoesOn(t *testing.T) {
	const large = "sub-02/anat/sub-02_T2w.nii.gz"
	b := newBench(t, 0, maker.File{Path: large, Size: 5 << 20, Seed: 3, Annexed: true})
	ctx, cancel := context.WithCancel(t.Context())
	b.server.SetFault(func(r publisher.Request) publisher.Fault {
		if strings.Contains(r.Path, large) {
			cancel()
			return publisher.Stall(100_000)
		}
		return nil
	})
	if _, err := b.gets.Get(ctx, b.request(), new(out)); !errors.Is(err, context.Canceled) {
		t.Errorf("cut off: %v", err)
	}
	b.server.SetFault(nil)
	half, _ := filepath.Glob(b.target + "/*/*/.uniharmonyfs-*")
	if len(half) > 0 {
		t.Errorf("half files are left: %q", half)
	}
	b.must(b.request())
	b.has(append(slices.Clone(allFiles), large)...)
}

// What a killed download left goes, what others are writing stays.
func TestGetRemovesWhatAKilledOneLeft(t *testing.T) {
	b := newBench(t, 0)
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(b.target, "sub-01", "anat")
	left := filepath.Join(dir, fmt.Sprintf(".uniharmonyfs-%d-3.part", dead.Process.Pid))
	foreign := filepath.Join(dir, ".uniharmonyfs-x-3.part")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(left, []byte("x"), 0o644), os.WriteFile(foreign, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	b.must(b.request())
	if _, err := os.Lstat(left); err == nil {
		t.Error("it is still there")
	}
	if _, err := os.Lstat(foreign); err != nil {
		t.Errorf("what is no half file: %v", err)
	}
}

func TestGetLargerThanTheBudget(t *testing.T) {
	const huge = "sub-01/anat/sub-01_T2w.nii.gz"
	b := newBench(t, 20<<20, maker.File{Path: huge, Size: 30 << 20, Seed: 3, Annexed: true})
	b.must(b.request())
	b.isWhole(huge)
	if st := b.Cache.Cache.Status(); st.Used > 20<<20 {
		t.Errorf("%d bytes are used of a budget of 20 MiB", st.Used)
	}
}

func TestGetSharesTheCachesFiles(t *testing.T) {
	b := newBench(t, 0)
	req := b.request()
	req.Hardlink = true
	b.must(req)
	b.has(allFiles...)
	st, err := os.Stat(filepath.Join(b.target, image1))
	if err != nil || st.Sys().(*syscall.Stat_t).Nlink != 2 || st.Mode().Perm()&0o222 != 0 {
		t.Errorf("%v, %+v", err, st)
	}
}

func TestGetPlain(t *testing.T) {
	b := newBench(t, 0)
	req := b.request("01")
	req.Plain, req.Selection.RootFiles = true, []string{"none"}
	b.must(req)
	b.has(image1)
}

func TestGetKeepsItsSpeed(t *testing.T) {
	b := newBench(t, 0, maker.File{Path: "sub-01/anat/sub-01_T2w.nii.gz", Size: 2 << 20, Seed: 3, Annexed: true})
	b.settings.speed = 1000
	req := b.request()
	req.Budget = 5 << 30
	_, plan := b.must(req)
	if plan.Seconds != float64(plan.FetchBytes)/1000 {
		t.Errorf("%v seconds for %d bytes", plan.Seconds, plan.FetchBytes)
	}
	if b.settings.perSec <= 0 || b.settings.budget != 5<<30 {
		t.Errorf("kept: %+v", &b.settings)
	}
}

// Two downloads into one directory take turns; who waits is told, and can leave.
func TestGetsOfOneTargetTakeTurns(t *testing.T) {
	b := newBench(t, 0)
	began, open := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.server.SetFault(func(publisher.Request) publisher.Fault {
		once.Do(func() { close(began) })
		<-open
		return nil
	})
	first := make(chan error, 1)
	go func() {
		res, err := b.gets.Get(t.Context(), b.request(), new(out))
		first <- errors.Join(err, failures(res))
	}()
	select {
	case <-began:
	case <-time.After(time.Minute):
		t.Fatal("the first does not begin")
	}
	ctx, cancel := context.WithCancel(t.Context())
	second := new(out)
	go func() {
		for len(second.Of("wait")) == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
	}()
	if _, err := b.gets.Get(ctx, b.request(), second); !errors.Is(err, context.Canceled) {
		t.Errorf("who leaves: %v", err)
	}
	close(open)
	if err := <-first; err != nil {
		t.Error(err)
	}
	b.has(allFiles...)
}

func failures(res control.GetResult) error {
	if len(res.Failed) > 0 {
		return fmt.Errorf("%+v", res.Failed)
	}
	return nil
}

// With --direct the target is a DataLad dataset that knows what it has.
func TestGetDirect(t *testing.T) {
	b := newBench(t, 0)
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", b.target, "-c", "safe.directory=*"}, args...)...)
		said, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, said)
		}
		return strings.TrimSpace(string(said))
	}
	req := b.request("01")
	req.Direct = true
	res, _ := b.must(req)
	if res.FetchedBytes != 300_000 {
		t.Errorf("%+v", res)
	}
	if got := git("rev-parse", "HEAD"); got != b.made.Commit() {
		t.Errorf("HEAD is %s", got)
	}
	b.isWhole(image1) // through its link
	if to, err := os.Readlink(filepath.Join(b.target, image1)); err != nil || !strings.Contains(to, ".git/annex/objects") {
		t.Errorf("%q, %v", to, err)
	}
	if _, err := os.ReadFile(filepath.Join(b.target, image2)); err == nil {
		t.Error("what was not asked for is there")
	}
	if st := b.Cache.Cache.Status(); st.Objects != 0 {
		t.Errorf("%d objects are in the cache, too", st.Objects)
	}
	if got := git("status", "--porcelain"); got != "" {
		t.Errorf("status: %s", got)
	}
	req.Copy = true
	b.must(req)
	if st, err := os.Lstat(filepath.Join(b.target, image1)); err != nil || !st.Mode().IsRegular() {
		t.Errorf("%v, %v", st, err)
	}
	b.isWhole(image1)
	// A file of the user's own stays.
	if err := errors.Join(os.Remove(filepath.Join(b.target, image1)), os.WriteFile(filepath.Join(b.target, image1), []byte("mine"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if res, _, err := b.get(req); err != nil || len(res.Failed) != 1 {
		t.Errorf("%+v, %v", res, err)
	}
}
