package daemon

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

func (b *rig) list(req control.ListRequest) (control.ListResult, []control.File) {
	b.t.Helper()
	var files []control.File
	res, err := b.List(b.t.Context(), req, nil, func(f control.File) error { files = append(files, f); return nil })
	if err != nil {
		b.t.Fatal(err)
	}
	return res, files
}

// do does something with files, of which none fails.
func (b *rig) do(req control.FilesRequest) control.FilesResult {
	b.t.Helper()
	res, err := b.Files(b.t.Context(), req, nil)
	if err != nil || len(res.Failed) > 0 {
		b.t.Fatalf("%s: %+v, %v", req.Do, res, err)
	}
	return res
}

func TestList(t *testing.T) {
	b := newRig(t)
	req := control.ListRequest{Dataset: b.dataset()}
	res, files := b.list(req)
	var paths []string
	for _, f := range files {
		paths = append(paths, f.Path)
	}
	if res.Files != 4 || res.Cached != 2 || res.Commit != b.made.Commit() || !slices.IsSorted(paths) || len(paths) != 4 {
		t.Errorf("%+v, %q", res, paths)
	}
	if b.server.Counts().Bytes != 0 {
		t.Error("content was fetched for a list")
	}
	req.Selection = bids.Selection{Entities: map[string][]string{"sub": {"02"}}}
	req.Explain = []string{image1, image2}
	res, files = b.list(req)
	if len(files) != 0 || len(res.Explained) != 2 || res.Explained[0].Shown || !res.Explained[1].Shown {
		t.Errorf("%+v", res.Explained)
	}
	req.Explain = []string{"nowhere"}
	_, err := b.List(t.Context(), req, nil, nil)
	refused(t, "a path that is not there", err, advice.NoMatch, "nowhere")
	req.Explain, req.Facets = nil, true
	if res, _ = b.list(req); len(res.Facets) == 0 {
		t.Error("there is nothing to select by")
	}
	req.Selection.Where = "age >"
	_, err = b.List(t.Context(), req, nil, nil)
	refused(t, "half a condition", err, advice.Usage, "where")
}

// What is done with files is done with those of a selection, or with those below
// paths in mounts.
func TestFiles(t *testing.T) {
	b := newRig(t)
	b.mount("mnt")
	in := func(path string) []string { return []string{filepath.Join(b.path("mnt"), path)} }
	sub2 := bids.Selection{Entities: map[string][]string{"sub": {"02"}}}
	if res := b.do(control.FilesRequest{Do: control.Prefetch, Paths: in("sub-01")}); res.Files != 1 || res.Bytes != 300_000 {
		t.Errorf("prefetch: %+v", res)
	}
	if res := b.do(control.FilesRequest{Do: control.Pin, Dataset: b.dataset(), Selection: sub2}); res.Files != 1 || res.Bytes != 400_000 {
		t.Errorf("pin: %+v", res)
	}
	if s := b.status(); s.Store.Objects != 2 || s.Store.PinnedFiles != 1 || s.Mounts[0].Cached != 2 {
		t.Errorf("%+v", s.Store)
	}
	sent := b.server.Counts().Bytes
	b.reads("mnt", image1)
	b.reads("mnt", image2)
	if b.server.Counts().Bytes != sent {
		t.Error("what was fetched is fetched again")
	}
	// Evicted is what is not pinned.
	if res := b.do(control.FilesRequest{Do: control.Evict, Paths: in("")}); res.Files != 1 {
		t.Errorf("evict: %+v", res)
	}
	if s := b.status(in(image1)[0], in(image2)[0]); s.Paths[0].State != control.Missing || s.Paths[1].State != control.Cached || !s.Paths[1].Pinned {
		t.Errorf("%+v", s.Paths)
	}
	b.do(control.FilesRequest{Do: control.Unpin, Paths: in(image2)})
	if res := b.do(control.FilesRequest{Do: control.Evict, Paths: in("sub-02")}); res.Files != 1 {
		t.Errorf("evict: %+v", res)
	}
	// A pin without fetching is one for later.
	b.do(control.FilesRequest{Do: control.Pin, NoFetch: true, Paths: in(image1)})
	if s := b.status(in(image1)...); s.Paths[0].State != control.Missing || !s.Paths[0].Pinned {
		t.Errorf("%+v", s.Paths)
	}
	for name, tc := range map[string]struct {
		req  control.FilesRequest
		kind advice.Kind
		says string
	}{
		"elsewhere": {control.FilesRequest{Do: control.Pin, Paths: []string{"/etc/passwd"}}, advice.Usage, "not inside a mount"},
		"beside it": {control.FilesRequest{Do: control.Pin, Paths: []string{b.path("mnt-other")}}, advice.Usage, "not inside a mount"},
		"not there": {control.FilesRequest{Do: control.Pin, Paths: in("nowhere")}, advice.NoMatch, "nowhere"},
		"what?":     {control.FilesRequest{Do: "frobnicate", Paths: in("")}, advice.Usage, "frobnicate"},
	} {
		_, err := b.Files(t.Context(), tc.req, nil)
		refused(t, name, err, tc.kind, tc.says)
	}
	_, err := b.Status(t.Context(), control.StatusRequest{Paths: []string{"/etc/passwd"}})
	refused(t, "status", err, advice.Usage, "not inside a mount")
	b.unmount("mnt")
}

// Damage is found, told and mended.
func TestVerifyAndRepair(t *testing.T) {
	b := newRig(t)
	b.mount("mnt")
	b.reads("mnt", image1)
	b.reads("mnt", image2)
	verify := control.FilesRequest{Do: control.Verify, Paths: []string{b.path("mnt")}}
	if res := b.do(verify); res.Files != 2 || res.Bytes != 700_000 {
		t.Errorf("%+v", res)
	}
	objects, err := exec.Command("find", b.dir.Objects(), "-type", "f", "-size", "-350k").Output()
	if err != nil || strings.Count(string(objects), "\n") != 1 {
		t.Fatalf("%q, %v", objects, err)
	}
	path := strings.TrimSpace(string(objects))
	damage := func() {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data[1000] ^= 1
		os.Chmod(path, 0o644)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	damage()
	if res, err := b.Files(t.Context(), verify, nil); err != nil || len(res.Failed) != 1 || res.Failed[0].Path != image1 {
		t.Errorf("%+v, %v", res, err)
	}
	b.reads("mnt", image1)
	damage()
	verify.Repair = true
	if res := b.do(verify); res.Repaired != 1 {
		t.Errorf("%+v", res)
	}
	b.reads("mnt", image1)
	b.unmount("mnt")
}

func TestGetBesideAMount(t *testing.T) {
	b := newRig(t)
	b.mount("mnt")
	var plan control.Plan
	req := control.GetRequest{Dataset: b.dataset(), Target: b.path("target")}
	res, err := b.Get(t.Context(), req, func(p control.Plan) error { plan = p; return nil }, nil)
	if err != nil || res.Files != 4 || plan.FetchFiles != 2 {
		t.Errorf("%+v, %+v, %v", res, plan, err)
	}
	req.Target = b.path("mnt/sub-03")
	_, err = b.Get(t.Context(), req, func(control.Plan) error { return nil }, nil)
	refused(t, "into a mount", err, advice.Usage, "inside a mount")
	sent := b.server.Counts().Bytes
	b.reads("mnt", image1)
	if b.server.Counts().Bytes != sent {
		t.Error("what get brought is fetched again")
	}
	b.unmount("mnt")
}

// Everything is brought in the background, as far as the budget goes.
func TestMountPrefetches(t *testing.T) {
	b := newRig(t)
	req := b.mountRequest("mnt")
	req.Prefetch = true
	if _, err := b.Mount(t.Context(), req, nil); err != nil {
		t.Fatal(err)
	}
	b.eventually("all is here", func() bool { s := b.status(); return s.Store.Objects == 2 && !s.Mounts[0].Prefetching })
	b.unmount("mnt")
	small := b.mountRequest("mnt")
	small.Prefetch, small.Budget = true, 350_000
	info, err := b.Mount(t.Context(), small, nil)
	if err != nil || !slices.ContainsFunc(info.Hints, func(h string) bool { return strings.Contains(h, "budget") }) {
		t.Errorf("%+v, %v", info.Hints, err)
	}
	b.unmount("mnt")
}

// The budget holds for later daemons, too.
func TestBudgetIsKept(t *testing.T) {
	b := newRig(t)
	req := b.mountRequest("mnt")
	req.Budget = 123 << 20
	if _, err := b.Mount(t.Context(), req, nil); err != nil {
		t.Fatal(err)
	}
	b.unmount("mnt")
	b.end(15)
	b.connect()
	if s := b.status(); s.Store.Budget != 123<<20 {
		t.Errorf("the budget is %d", s.Store.Budget)
	}
	// Settings that cannot be read mean the default, and are no reason not to start.
	b.end(15)
	if err := os.WriteFile(filepath.Join(string(b.dir), "settings.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.connect()
	if s := b.status(); s.Store.Budget == 123<<20 || s.Store.Budget == 0 {
		t.Errorf("the budget is %d", s.Store.Budget)
	}
}

func TestOneDaemonForACache(t *testing.T) {
	b := newRig(t)
	err := Run(t.Context(), b.dir, Options{})
	if !control.IsLocked(err) {
		t.Errorf("a second daemon: %v", err)
	}
	b.status() // the first one still answers
}

func TestHello(t *testing.T) {
	var log strings.Builder
	d := testDaemon(&log)
	d.options.Version = "7"
	ask := func() (int, string) {
		w := httptest.NewRecorder()
		d.routes().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/hello", nil))
		said, _ := io.ReadAll(w.Body)
		return w.Code, string(said)
	}
	if code, said := ask(); code != 200 || !strings.Contains(said, `"version":"7"`) || !strings.Contains(said, `"work":[]`) {
		t.Errorf("%d, %s", code, said)
	}
	end, _ := d.life.begin("get")
	if _, said := ask(); !strings.Contains(said, `"work":["get"]`) {
		t.Errorf("at work: %s", said)
	}
	d.life.stop()
	end()
	if code, _ := ask(); code != 503 {
		t.Errorf("stopping: %d", code)
	}
}

// A reader of one dataset is not told of another one's errors.
func TestErrorsAreTheirDatasets(t *testing.T) {
	b := newRig(t)
	b.mount("mnt")
	other := b.server
	d := rigDataset("other")
	d.Remotes = []maker.Remote{{Name: "s3", Kind: maker.Versioned, URL: other.URL + "/bucket"}}
	m, err := maker.Make(t.TempDir(), d)
	if err != nil {
		t.Fatal(err)
	}
	other.Add(m)
	req := b.mountRequest("other")
	req.Spec = other.GitURL(m)
	if _, err := b.Mount(t.Context(), req, nil); err != nil {
		t.Fatal(err)
	}
	b.server.SetFault(func(r publisher.Request) publisher.Fault {
		if strings.Contains(r.Path, "/other/") {
			return publisher.Status(404, 0)
		}
		return nil
	})
	if _, err := os.ReadFile(filepath.Join(b.path("other"), image1)); err == nil {
		t.Error("what is not there is read")
	}
	errorsOf := func(name string) string {
		data, err := os.ReadFile(filepath.Join(b.path(name), ".uniharmonyfs", "errors"))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if errorsOf("other") == "" || errorsOf("mnt") != "" {
		t.Errorf("of its own: %q; of the other: %q", errorsOf("other"), errorsOf("mnt"))
	}
	b.reads("mnt", image1)
	b.unmount("mnt")
	b.unmount("other")
}
