package dataset_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset"
	"github.com/uniharmony/uniharmonyfs/internal/dataset/datasettest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// fieldmaps is a dataset whose sidecars git-annex holds: only their content says
// which fieldmap belongs to which image.
func fieldmaps() maker.Dataset {
	says := func(run string) []byte {
		return []byte(`{"EchoTime1": 0.1, "EchoTime2": 0.2, "IntendedFor": "func/sub-01_task-x_run-` + run + `_bold.nii.gz"}`)
	}
	d := maker.Dataset{Name: "maps", Files: []maker.File{{Path: "dataset_description.json", Data: []byte(`{"Name": "x", "BIDSVersion": "1.9.0"}`)}}}
	for i, run := range []string{"1", "2"} {
		d.Files = append(d.Files,
			maker.File{Path: "sub-01/func/sub-01_task-x_run-" + run + "_bold.nii.gz", Size: 2000, Seed: uint64(10 + i), Annexed: true},
			maker.File{Path: "sub-01/fmap/sub-01_run-" + run + "_phasediff.nii.gz", Size: 1000, Seed: uint64(20 + i), Annexed: true},
			maker.File{Path: "sub-01/fmap/sub-01_run-" + run + "_phasediff.json", Data: says(run), Annexed: true})
	}
	return d
}

// run1 asks for the images of one run, with what belongs to them.
var run1 = bids.Selection{Entities: map[string][]string{"run": {"1"}}, Suffix: []string{"bold"}}

func paths(v *dataset.Version, nodes []int) (all []string) {
	for _, n := range nodes {
		all = append(all, v.Path(n))
	}
	return all
}

// What decides is fetched when it is not here, once for all versions and
// selections, and counts as its owner's.
func TestChooserFetchesWhatDecides(t *testing.T) {
	c := datasettest.New(t, 0)
	s, m := datasettest.Publish(t, fieldmaps())
	req := datasettest.Request(s, m)
	v := mustOpen(t, c, req)
	var told datasettest.Told
	chosen, err := v.Chooser("me", told.Tell).Choose(t.Context(), run1)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"dataset_description.json", "sub-01/fmap/sub-01_run-1_phasediff.json", "sub-01/fmap/sub-01_run-1_phasediff.nii.gz",
		"sub-01/func/sub-01_task-x_run-1_bold.nii.gz",
	}
	if got := paths(v, chosen.Files); !slices.Equal(got, want) {
		t.Errorf("chosen: %q", got)
	}
	if got := paths(v, chosen.Primary); !slices.Equal(got, want[3:]) {
		t.Errorf("asked for: %q", got)
	}
	if chosen.View.Files() != len(want) {
		t.Errorf("%d files in the view", chosen.View.Files())
	}
	if len(told.Of("fetch")) == 0 {
		t.Error("nothing is told of what is fetched")
	}
	if files, _, _ := c.Cache.Drop(func(owner string, _ annex.Key) bool { return owner == "me" }); files != 2 {
		t.Errorf("%d sidecars were fetched, want 2", files)
	}
	// They are evicted now, and what they say is known.
	req.Offline = true
	again, err := mustOpen(t, c, req).Chooser("me", told.Tell).Choose(t.Context(), run1)
	if err != nil || !slices.Equal(paths(v, again.Files), want) {
		t.Errorf("again: %v, %v", again, err)
	}
}

// What cannot be had is done without: then every fieldmap may belong to it.
func TestChooserDoesWithoutWhatCannotBeHad(t *testing.T) {
	for name, change := range map[string]func(*publisher.Server, *control.Dataset){
		"offline": func(_ *publisher.Server, r *control.Dataset) { r.Offline = true },
		"lost": func(s *publisher.Server, _ *control.Dataset) {
			s.SetFault(publisher.First(1000, publisher.Status(404, 0)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := datasettest.New(t, 0)
			s, m := datasettest.Publish(t, fieldmaps())
			req := datasettest.Request(s, m)
			mustOpen(t, c, req).Release()
			change(s, &req)
			v := mustOpen(t, c, req)
			chosen, err := v.Chooser("me", new(datasettest.Told).Tell).Choose(t.Context(), run1)
			if err != nil {
				t.Fatal(err)
			}
			if got := paths(v, chosen.Files); !slices.Contains(got, "sub-01/fmap/sub-01_run-2_phasediff.nii.gz") {
				t.Errorf("chosen: %q", got)
			}
			if name == "offline" && s.Counts().Bytes != 0 {
				t.Errorf("%d bytes were sent", s.Counts().Bytes)
			}
		})
	}
}

func TestChooserEndsWithItsContext(t *testing.T) {
	c := datasettest.New(t, 0)
	s, m := datasettest.Publish(t, fieldmaps())
	v := mustOpen(t, c, datasettest.Request(s, m))
	ctx, cancel := context.WithCancel(t.Context())
	s.SetFault(func(publisher.Request) publisher.Fault { cancel(); return publisher.Stall(0) })
	if _, err := v.Chooser("me", new(datasettest.Told).Tell).Choose(ctx, run1); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
}

func TestChooserExplains(t *testing.T) {
	c := datasettest.New(t, 0)
	s, m := datasettest.Publish(t, fieldmaps())
	v := mustOpen(t, c, datasettest.Request(s, m))
	choose := v.Chooser("me", new(datasettest.Told).Tell)
	for path, shown := range map[string]bool{
		"sub-01/func/sub-01_task-x_run-1_bold.nii.gz": true, "sub-01/fmap/sub-01_run-1_phasediff.nii.gz": true,
		"sub-01/func/sub-01_task-x_run-2_bold.nii.gz": false,
	} {
		if e, err := choose.Explain(t.Context(), run1, path); err != nil || e.Path != path || e.Shown != shown || e.Why == "" {
			t.Errorf("%+v, %v", e, err)
		}
	}
	if _, err := choose.Explain(t.Context(), run1, "nowhere"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of what is not there: %v", err)
	}
	facets, err := choose.Facets(t.Context(), bids.Selection{})
	if err != nil || !slices.ContainsFunc(facets, func(f bids.Facet) bool { return strings.Contains(f.Name, "run") }) {
		t.Errorf("%+v, %v", facets, err)
	}
}

// What is in the target of a download counts as shown.
func TestChooseBeside(t *testing.T) {
	c := datasettest.New(t, 0)
	d := small("beside")
	d.Files = append(d.Files, maker.File{Path: "participants.tsv", Data: []byte("participant_id\tage\nsub-01\t20\nsub-02\t30\n")})
	s, m := datasettest.Publish(t, d)
	v := mustOpen(t, c, datasettest.Request(s, m))
	sub1 := bids.Selection{Entities: map[string][]string{"sub": {"01"}}}
	table := func(beside func(string) bool) string {
		t.Helper()
		chosen, err := v.Chooser("me", new(datasettest.Told).Tell).ChooseBeside(t.Context(), sub1, beside)
		if err != nil {
			t.Fatal(err)
		}
		content, ok := chosen.View.Content(find(t, v, "participants.tsv"))
		if !ok {
			return "whole"
		}
		return string(content)
	}
	if got := table(nil); strings.Contains(got, "sub-02") || !strings.Contains(got, "sub-01") {
		t.Errorf("alone: %q", got)
	}
	if got := table(func(path string) bool { return strings.HasPrefix(path, "sub-02/") }); got != "whole" && !strings.Contains(got, "sub-02") {
		t.Errorf("beside sub-02: %q", got)
	}
}

func TestDescribe(t *testing.T) {
	c := datasettest.New(t, 0)
	s, m := datasettest.Publish(t, small("states"))
	v := mustOpen(t, c, datasettest.Request(s, m))
	chosen, err := v.Chooser("me", new(datasettest.Told).Tell).Choose(t.Context(), bids.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	state := func(path string) control.File {
		t.Helper()
		f := v.Describe(chosen.View, find(t, v, path))
		if f.Path != path || f.Size != m.Find(path).Size && f.State != "git" {
			t.Errorf("%+v", f)
		}
		return f
	}
	const image = "sub-01/anat/sub-01_T1w.nii.gz"
	if f := state("dataset_description.json"); f.State != "git" || f.Key != "" || !f.Here() {
		t.Errorf("%+v", f)
	}
	n := find(t, v, image)
	if f := state(image); f.State != "missing" || f.Here() || f.Key != v.Key(n).String() || v.IsHere(n) {
		t.Errorf("%+v", f)
	}
	if _, err := v.ReadNow(t.Context(), n); err == nil {
		t.Error("what is missing was read")
	}
	from, err := v.Origin()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Cache.Pin([]annex.Key{v.Key(n)}); err != nil {
		t.Fatal(err)
	}
	if err := c.Cache.Fetch(t.Context(), v.Key(n), cache.Use{Origin: from, Dataset: v.ID(), Name: image}); err != nil {
		t.Fatal(err)
	}
	if f := state(image); f.State != "cached" || !f.Here() || !f.Pinned || !v.IsHere(n) {
		t.Errorf("%+v", f)
	}
	if got, err := v.ReadNow(t.Context(), n); err != nil || !bytes.Equal(got, datasettest.Content(t, m, image)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// The content of the user's own repository is read where it lies.
func TestContentInPlace(t *testing.T) {
	c := datasettest.New(t, 0)
	d := small("own")
	d.WorkTree, d.Present = true, true
	m, err := maker.Make(t.TempDir(), d)
	if err != nil {
		t.Fatal(err)
	}
	v := mustOpen(t, c, control.Dataset{Spec: m.Dir, Fetcher: "native"})
	const image = "sub-02/anat/sub-02_T1w.nii.gz"
	n := find(t, v, image)
	if !v.InPlace(n) || !v.IsHere(n) {
		t.Fatal("it is not found there")
	}
	want := datasettest.Content(t, m, image)
	if got, err := v.ReadNow(t.Context(), n); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	local := v.OpenInPlace(n)
	if local == nil {
		t.Fatal("it cannot be opened")
	}
	defer local.Close()
	got := make([]byte, len(want))
	if _, err := local.ReadAt(t.Context(), got, 0); err != nil && !bytes.Equal(got, want) {
		t.Errorf("read: %v", err)
	}
	if v.OpenInPlace(find(t, v, "dataset_description.json")) != nil {
		t.Error("a file of git is opened in place")
	}
	if st := c.Cache.Status(); st.Objects != 0 {
		t.Errorf("%d objects in the cache", st.Objects)
	}
	chosen, err := v.Chooser("me", new(datasettest.Told).Tell).Choose(t.Context(), bids.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	if f := v.Describe(chosen.View, n); f.State != "local" || !f.Here() {
		t.Errorf("%+v", f)
	}
}

func TestOfflineOriginHasNothing(t *testing.T) {
	c := datasettest.New(t, 0)
	s, m := datasettest.Publish(t, small("off"))
	req := datasettest.Request(s, m)
	mustOpen(t, c, req).Release()
	req.Offline = true
	v := mustOpen(t, c, req)
	from, err := v.Origin()
	if err != nil {
		t.Fatal(err)
	}
	n := find(t, v, "sub-01/anat/sub-01_T1w.nii.gz")
	if err := c.Cache.Fetch(t.Context(), v.Key(n), cache.Use{Origin: from, Dataset: v.ID(), Name: "x"}); !errors.Is(err, cache.ErrOffline) {
		t.Errorf("fetched: %v", err)
	}
	if st := s.Counts(); st.Bytes != 0 {
		t.Errorf("%d bytes were sent", st.Bytes)
	}
}
