package mount

import (
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset/datasettest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// What nobody looks at leaves memory, and nobody notices: names, numbers, bytes are the
// same, also of a selection with a table cut to it; damage is still forgotten by the
// kernel; and the datasets are held until the end.
func TestIdleDatasetsLeaveMemory(t *testing.T) {
	c := datasettest.New(t, 0)
	s, err := publisher.New(publisher.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	d := maker.Dataset{Name: "leaf", Files: []maker.File{
		{Path: "dataset_description.json", Data: []byte(`{"Name": "x", "BIDSVersion": "1.9.0"}`)},
		{Path: "participants.tsv", Data: []byte("participant_id\nsub-01\nsub-02\n")},
	}}
	for _, sub := range []string{"01", "02"} {
		d.Files = append(d.Files, maker.File{Path: "sub-" + sub + "/anat/sub-" + sub + "_T1w.nii.gz", Size: 1000, Seed: 1, Annexed: true})
	}
	leaf := datasettest.PublishAt(t, s, d)
	mid := datasettest.PublishAt(t, s, maker.Dataset{Name: "mid", Files: []maker.File{
		{Path: "README", Data: []byte("mid")}, {Path: "deep/leaf", Commit: leaf.Commit()},
		{Path: ".gitmodules", Data: []byte("[submodule \"l\"]\n\tpath = deep/leaf\n\turl = ../leaf.git\n")},
	}})
	top := datasettest.PublishAt(t, s, maker.Dataset{Name: "top", Files: []maker.File{
		{Path: "README", Data: []byte("top")}, {Path: "mid", Commit: mid.Commit()},
		{Path: ".gitmodules", Data: []byte("[submodule \"m\"]\n\tpath = mid\n\turl = ../mid.git\n")},
	}})
	h := Host{Dir: c.Dir, Cache: c.Cache, Datasets: c.Datasets, Log: slog.New(slog.NewTextHandler(c.Log, nil)), Guard: datasettest.Guard}
	catalog, err := c.Datasets.Catalog(t.Context(), datasettest.Request(s, top), []string{s.GitURL(top)}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	req := control.MountRequest{Dataset: datasettest.Request(s, top), Target: t.TempDir(), NoReadAhead: true, Selection: bids.Selection{}}
	m, err := h.NewFolder(req, catalog)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Serve(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Unmount(); err != nil {
			t.Error(err)
		}
		<-m.Done()
		m.Close()
		m.Close()
		if err := c.Datasets.Unmounted(c.Datasets.Names()); err != nil {
			t.Errorf("after the end: %v", err)
		}
	}()
	see := func() map[string]string { // by another process: this one serves
		t.Helper()
		out, err := exec.Command("sh", "-c", `cd "$0" && find . -printf '%p %i %s %m ' -type f -exec md5sum {} \; -o -printf '\n'`, m.Target()).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v", out, err)
		}
		seen := make(map[string]string)
		for line := range strings.Lines(string(out)) {
			name, rest, _ := strings.Cut(line, " ")
			seen[name] = rest
		}
		return seen
	}
	before := see()
	if _, ok := before["./mid/deep/leaf/sub-02/anat/sub-02_T1w.nii.gz"]; !ok || len(m.entered()) != 2 {
		t.Fatalf("%v", before)
	}
	parts := func() (n int) {
		for _, e := range m.entered() {
			if e.part != nil {
				n++
			}
		}
		return n
	}
	told := fmt.Sprintf("%+v", m.Info().Opened)
	m.forget(time.Now().Add(-time.Hour))
	if n := parts(); n != 2 {
		t.Fatalf("%d of what was just looked at", n)
	}
	m.forget(time.Now().Add(time.Hour))
	if n := parts(); n != 0 {
		t.Fatalf("%d are still in memory", n)
	}
	// Who asks for what lies there brings it back for a while.
	if _, err := m.Find(m.Target()); err != nil || parts() != 2 {
		t.Errorf("asked for all: %d parts, %v", parts(), err)
	}
	m.forget(time.Now().Add(-time.Hour))
	if n := parts(); n != 0 {
		t.Errorf("%d are in memory, and nobody looks", n)
	}
	if now := fmt.Sprintf("%+v", m.Info().Opened); now != told {
		t.Errorf("opened are %s, were %s", now, told)
	}
	if err := c.Datasets.Unmounted([]string{m.entered()[1].datasets[0]}); err == nil {
		t.Error("it can be removed")
	}
	s.Close() // no network is needed
	leafPath := filepath.Join(m.Target(), "mid/deep/leaf/sub-01/anat/sub-01_T1w.nii.gz")
	found, err := m.Find(leafPath)
	if err != nil || len(found) != 1 || len(found[0].Nodes) != 1 || found[0].pathOf(found[0].Nodes[0]) != "mid/deep/leaf/sub-01/anat/sub-01_T1w.nii.gz" {
		t.Fatalf("%v, %v", found, err)
	}
	key := found[0].version.Key(found[0].Nodes[0])
	m.forget(time.Now().Add(time.Hour))
	if all, err := m.Find(m.Target()); err != nil || len(all) != 3 {
		t.Errorf("of the whole mount %v, %v", all, err)
	}
	m.forget(time.Now().Add(time.Hour))
	m.Revoke(key, "")
	m.forget(time.Now().Add(time.Hour))
	if after := see(); !maps.Equal(before, after) {
		t.Errorf("it was\n%v\nand is\n%v", before, after)
	}
	if p, err := m.entered()[0].get(t.Context()); err != nil || p.level != 1 {
		t.Errorf("%v", err)
	}
	if _, err := m.folder.Enter(t.Context(), "mid"); err != nil {
		t.Error(err)
	}
	if err := m.folder.Find(t.Context(), "nothing"); err != fs.ErrNotExist {
		t.Error(err)
	}
}

// A part of a selection comes back as it was: with the same files, in the same order,
// and tables that are cut to them.
func TestSelectionComesBack(t *testing.T) {
	c := datasettest.New(t, 0)
	d := maker.Dataset{Name: "one", Files: []maker.File{
		{Path: "dataset_description.json", Data: []byte(`{"Name": "x", "BIDSVersion": "1.9.0"}`)},
		{Path: "participants.tsv", Data: []byte("participant_id\nsub-01\nsub-02\n")},
	}}
	for n := range 12 {
		d.Files = append(d.Files, maker.File{Path: fmt.Sprintf("sub-%02d/anat/sub-%02d_T1w.nii.gz", n, n), Size: 1000, Seed: 1, Annexed: true})
	}
	s, made := datasettest.Publish(t, d)
	v, err := c.Datasets.Open(t.Context(), datasettest.Request(s, made), quiet)
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := v.Chooser("x", quiet).Choose(t.Context(), bids.Selection{Entities: map[string][]string{"sub": {"01", "03", "11"}}})
	if err != nil {
		t.Fatal(err)
	}
	h := Host{Dir: c.Dir, Cache: c.Cache, Datasets: c.Datasets, Log: slog.New(slog.NewTextHandler(c.Log, nil)), Guard: datasettest.Guard}
	m, err := h.New(control.MountRequest{Target: "/mnt"}, v, chosen)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	before := m.Part
	e := newEntered(before)
	e.forget()
	e.forget()
	after, err := e.get(t.Context())
	if err != nil || after == before {
		t.Fatalf("%v", err)
	}
	if fmt.Sprint(after.shown.files) != fmt.Sprint(before.shown.files) || after.shown.view.Bytes() != before.shown.view.Bytes() || after.shown.view.Nodes() != before.shown.view.Nodes() {
		t.Errorf("%v are %v", before.shown.files, after.shown.files)
	}
	n, ok := after.shown.view.Find("participants.tsv")
	text, cut := after.shown.view.Content(n)
	if !ok || !cut || string(text) != "participant_id\nsub-01\n" {
		t.Errorf("the table is %q, %v, %v", text, ok, cut)
	}
}
