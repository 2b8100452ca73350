package main_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// Several downloads into one directory end as one download of all of it.
func TestGetsIntoOneTargetAreOneDataset(t *testing.T) {
	u := newUser(t)
	_, m := serve(t, u, demo.Dataset())
	get := func(target string, selection ...string) {
		u.must(append([]string{"get", "--dataset", m.Dir, u.path(target)}, selection...)...)
	}
	get("parts", "--sub", "01", "--task", "rest")
	get("parts", "--sub", "01", "--task", "tapping")
	table, _ := os.ReadFile(u.path("parts/participants.tsv"))
	if bytes.Contains(table, []byte("sub-02")) {
		t.Errorf("participants.tsv lists who is not there:\n%s", table)
	}
	get("once", "--sub", "01", "--modality", "func")
	u.sameDirs("parts", "once")
	get("parts", "--sub", "02")
	get("parts", "--sub", "01")
	get("whole")
	get("parts")
	u.sameDirs("parts", "whole")
	sameTree(t, u.path("parts"), contents(t, m))
}

// sameDirs compares two directories as a whole.
func (u *user) sameDirs(a, b string) {
	u.t.Helper()
	read := func(dir string) map[string]string {
		all := map[string]string{}
		filepath.Walk(u.path(dir), func(p string, st os.FileInfo, err error) error {
			if err == nil && st.Mode().IsRegular() {
				data, _ := os.ReadFile(p)
				rel, _ := filepath.Rel(u.path(dir), p)
				all[rel] = string(data)
			}
			return err
		})
		return all
	}
	have, want := read(a), read(b)
	if len(want) == 0 {
		u.t.Errorf("%s is empty", b)
	}
	for name, data := range want {
		if got, there := have[name]; !there || got != data {
			u.t.Errorf("%s: %s is %q in %s, %q in %s", name, name, got, a, data, b)
		}
	}
	for name := range have {
		if _, there := want[name]; !there {
			u.t.Errorf("%s is in %s, not in %s", name, a, b)
		}
	}
}

// A table that a person has changed is theirs.
func TestGetKeepsChangedTables(t *testing.T) {
	u := newUser(t)
	_, m := serve(t, u, demo.Dataset())
	u.must("get", "--dataset", m.Dir, "--sub", "01", u.path("target"))
	table := u.path("target/participants.tsv")
	for _, change := range [][2]string{{"sub-01", "sub-xx"}, {"age", "alter"}} {
		have, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		mine := bytes.Replace(have, []byte(change[0]), []byte(change[1]), 1)
		if bytes.Equal(mine, have) {
			t.Fatalf("no %q in %q", change[0], have)
		}
		if err := os.WriteFile(table, mine, 0o644); err != nil {
			t.Fatal(err)
		}
		u.fails(7, []string{"participants.tsv: another file is there"}, "get", "--dataset", m.Dir, "--sub", "02", u.path("target"))
		if got, _ := os.ReadFile(table); !bytes.Equal(got, mine) {
			t.Errorf("it was overwritten: %q", got)
		}
		os.WriteFile(table, have, 0o644)
	}
	sidecar := u.path("target/sub-01/ses-01/fmap/sub-01_ses-01_phasediff.json")
	os.WriteFile(sidecar, []byte(`{"EchoTime1": 1}`), 0o644)
	u.fails(7, []string{"phasediff.json: another file is there"}, "get", "--dataset", m.Dir, "--sub", "01", u.path("target"))
}

// --plain brings the files asked for, as they are in the dataset, and those at
// the root that are named.
func TestGetPlainBringsNamedRootFiles(t *testing.T) {
	u := newUser(t)
	_, m := serve(t, u, demo.Dataset())
	want := contents(t, m)
	image := "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"
	for root, names := range map[string][]string{
		"":                             nil,
		"none":                         nil,
		"README,participants.tsv":      {"README", "participants.tsv"},
		"task-*_bold.json,T1w.json":    {"task-rest_bold.json", "task-tapping_bold.json", "T1w.json"},
		"dataset_description.json,LI*": {"dataset_description.json", "LICENSE"},
	} {
		args := []string{"get", "--plain", "--dataset", m.Dir, "--sub", "01", "--ses", "01", "--suffix", "T1w", "--ext", ".nii.gz", u.path("t-" + root)}
		if root != "" {
			args = append(args, "--root-files", root)
		}
		u.must(args...)
		some := map[string][]byte{image: want[image]}
		for _, n := range names {
			some[n] = want[n]
		}
		sameTree(t, u.path("t-"+root), some)
	}
	u.fails(3, []string{"--root-files READNE", "nearest: README"}, "get", "--dataset", m.Dir, "--root-files", "READNE", u.path("none"))
	if _, err := os.Stat(u.path("none")); err == nil {
		t.Error("a target was made for nothing")
	}
}

// Programs get progress with speed and the time that is left, of all phases.
func TestJSONProgress(t *testing.T) {
	u := newUser(t)
	server, m := serve(t, u, files("slow", 20, 100_000))
	server.SetLink(publisher.Link{Rate: 1 << 20})
	r := u.run("get", "--json", "--json-progress", "--dataset", m.Dir, u.path("target"))
	if r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.errout)
	}
	type line struct {
		Phase           string
		Done, Total     int64
		Speed, ETA      float64
		Files, Failed   int
		Event, Filename string
	}
	seen := map[string]bool{}
	check := func(p line) {
		if p.Phase == "get" || p.Event == "progress" {
			seen["speed"] = seen["speed"] || p.Speed > 100_000
			seen["eta"] = seen["eta"] || p.ETA > 0
		}
		seen[p.Phase+p.Event] = true
	}
	for l := range strings.Lines(r.errout) {
		var e struct{ Progress *line }
		if err := json.Unmarshal([]byte(l), &e); err != nil || e.Progress == nil {
			t.Fatalf("%v: %s", err, l)
		}
		check(*e.Progress)
	}
	for _, want := range []string{"clone", "get", "speed", "eta"} {
		if !seen[want] {
			t.Errorf("standard error tells nothing of %q:\n%s", want, r.errout)
		}
	}
	clear(seen)
	for l := range strings.Lines(r.out) {
		var e line
		if err := json.Unmarshal([]byte(l), &e); err != nil {
			t.Fatalf("%v: %s", err, l)
		}
		check(e)
	}
	if !seen["speed"] || !seen["eta"] || !seen["done"] {
		t.Errorf("standard output tells no speed, time or end:\n%s", r.out)
	}
	// The other commands, too.
	u.must("evict", "--dataset", m.Dir)
	if r := u.run("prefetch", "--json", "--json-progress", "--dataset", m.Dir); r.code != 0 || !strings.Contains(r.errout, `"phase":"fetch"`) {
		t.Errorf("prefetch: exit %d\n%s", r.code, r.errout)
	}
}

// status names the datasets of the hidden clones so that they can be used
// again, but no password.
func TestStatusNamesClones(t *testing.T) {
	u := newUser(t)
	s, m := serve(t, u, demo.Dataset())
	u.must("list", "--count", "--dataset", m.Dir)
	u.must("list", "--count", "--dataset", strings.Replace(s.GitURL(m), "http://", "http://me:hunter2@", 1))
	var st struct {
		Clones []struct{ Name, Dataset string }
	}
	out := u.must("status", "--json")
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, c := range st.Clones {
		found[c.Dataset] = strings.HasPrefix(c.Name, "uniharmonyfs-demo-")
	}
	if len(st.Clones) != 2 || !found[m.Dir] || strings.Contains(out, "hunter2") || !strings.Contains(out, "http://me:") {
		t.Errorf("clones: %v", st.Clones)
	}
}
