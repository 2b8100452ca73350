package main_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// study serves a dataset that has subdatasets where BIDS has them: derivatives/prep,
// whose own raw data is its sourcedata/raw, sourcedata/dicoms, and sub-01 itself.
func study(t *testing.T, u *user) (*publisher.Server, *maker.Made, map[string][]byte) {
	t.Helper()
	s, _ := serve(t, u, files("unused", 1, 1000))
	remotes := []maker.Remote{{Name: "s3-PUBLIC", Kind: maker.Versioned, URL: s.URL + "/openneuro.org"}}
	seed := uint64(0)
	made := func(name string, below map[string]*maker.Made, paths ...string) *maker.Made {
		d := maker.Dataset{Name: name, Remotes: remotes, Files: []maker.File{
			{Path: "dataset_description.json", Data: []byte(`{"Name":"` + name + `","BIDSVersion":"1.10.0"}`)},
		}}
		for _, p := range paths {
			seed++
			d.Files = append(d.Files, maker.File{Path: p, Size: 3000, Seed: seed, Annexed: true})
		}
		var modules strings.Builder
		for path, m := range below {
			fmt.Fprintf(&modules, "[submodule %q]\n\tpath = %s\n\turl = ../%s.git\n", path, path, m.Dataset.Name)
			d.Files = append(d.Files, maker.File{Path: path, Commit: m.Commit()})
		}
		if len(below) > 0 {
			d.Files = append(d.Files, maker.File{Path: ".gitmodules", Data: []byte(modules.String())})
		}
		m, err := maker.Make(u.path(name), d)
		if err != nil {
			t.Fatal(err)
		}
		s.Add(m)
		return m
	}
	raw := made("raw", nil, "sub-00/anat/sub-00_T1w.nii.gz")
	prep := made("prep", map[string]*maker.Made{"sourcedata/raw": raw}, "sub-00/anat/sub-00_desc-preproc_T1w.nii.gz", "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz")
	dicoms := made("dicoms", nil, "sub-00/x.dcm", "sub-01/y.dcm")
	one := made("one", nil, "anat/sub-01_T1w.nii.gz", "func/sub-01_task-rest_bold.nii.gz")
	below := map[string]*maker.Made{"derivatives/prep": prep, "sourcedata/dicoms": dicoms, "sub-01": one}
	top := made("study", below, "sub-00/anat/sub-00_T1w.nii.gz")
	want := make(map[string][]byte)
	below[""] = top
	below["derivatives/prep/sourcedata/raw"] = raw
	for path, m := range below {
		for _, f := range m.Files {
			if f.Commit == "" && f.Path != ".gitmodules" {
				data, err := maker.Bytes(f.Content)
				if err != nil {
					t.Fatal(err)
				}
				want[filepath.Join(path, f.Path)] = data
			}
		}
	}
	return s, top, want
}

// Selections reach through: what they need of subdatasets is listed, mounted, fetched
// and downloaded as if it were the dataset's own.
func TestSelectionsReachIntoSubdatasets(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	s, top, content := study(t, u)
	const desc, prep = "dataset_description.json", "derivatives/prep/"
	for i, c := range []struct {
		args []string
		want []string // of the files in subdatasets and the dataset itself
	}{
		{nil, []string{desc, "sub-00/anat/sub-00_T1w.nii.gz"}},
		{[]string{"--sub", "00"}, []string{desc, "sub-00/anat/sub-00_T1w.nii.gz"}},
		{[]string{"--sub", "01"}, []string{desc, "sub-01/" + desc, "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/func/sub-01_task-rest_bold.nii.gz"}},
		{[]string{"--suffix", "bold"}, []string{desc, "sub-01/func/sub-01_task-rest_bold.nii.gz"}},
		{[]string{"--sub", "01", "--suffix", "T1w", "--derivatives", "prep"}, []string{
			desc, prep + desc, prep + "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz", "sub-01/anat/sub-01_T1w.nii.gz",
		}},
		{[]string{"--derivatives", "prep", "--no-subdatasets", "--sub", "00"}, nil},
		{[]string{"--sub", "00", "--sourcedata"}, []string{desc, "sourcedata/dicoms/" + desc, "sourcedata/dicoms/sub-00/x.dcm", "sub-00/anat/sub-00_T1w.nii.gz"}},
		{[]string{"--sub", "00", "--sourcedata", "--derivatives", "prep"}, []string{
			desc, prep + desc, prep + "sub-00/anat/sub-00_desc-preproc_T1w.nii.gz", prep + "sourcedata/raw/" + desc, prep + "sourcedata/raw/sub-00/anat/sub-00_T1w.nii.gz",
			"sourcedata/dicoms/" + desc, "sourcedata/dicoms/sub-00/x.dcm", "sub-00/anat/sub-00_T1w.nii.gz",
		}},
		{[]string{"--recursive"}, []string{desc, "sub-00/anat/sub-00_T1w.nii.gz", "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/func/sub-01_task-rest_bold.nii.gz", "sub-01/" + desc}},
	} {
		args := append([]string{"--dataset", s.GitURL(top)}, c.args...)
		if c.want == nil {
			u.fails(3, []string{"derivatives"}, append([]string{"list"}, args...)...)
			continue
		}
		list := strings.Fields(u.must(append([]string{"list"}, args...)...))
		if !slices.Equal(slices.Sorted(slices.Values(list)), slices.Sorted(slices.Values(c.want))) {
			t.Errorf("%v lists\n%v, want\n%v", c.args, list, c.want)
		}
		want := make(map[string][]byte)
		for _, p := range c.want {
			want[p] = content[p]
		}
		got := u.path(fmt.Sprint("got", i))
		u.must(append([]string{"get"}, append(args, got)...)...)
		if found := below(t, got); !maps.EqualFunc(found, want, bytes.Equal) {
			t.Errorf("%v gets %v", c.args, slices.Sorted(maps.Keys(found)))
		}
		if len(c.args) == 0 {
			continue
		}
		mnt := u.path(fmt.Sprint("mnt", i))
		u.must(append([]string{"mount"}, append(args, mnt)...)...)
		if found := below(t, mnt); !maps.EqualFunc(found, want, bytes.Equal) {
			t.Errorf("%v shows %v", c.args, slices.Sorted(maps.Keys(found)))
		}
		u.must("unmount", mnt)
	}
	if facets := u.must("list", "--facets", "--dataset", s.GitURL(top), "--sub", "01"); !strings.Contains(facets, "rest") {
		t.Errorf("facets are\n%s", facets)
	}
	if why := u.must("list", "--explain", "sub-01/anat/sub-01_T1w.nii.gz", "--dataset", s.GitURL(top), "--sub", "01"); !strings.Contains(why, "shown") {
		t.Errorf("it is explained by\n%s", why)
	}
	if said := u.must("pin", "--dataset", s.GitURL(top), "--sub", "01"); !strings.Contains(said, "2 files") {
		t.Errorf("pinned are\n%s", said)
	}
}

// below returns the content of all files below a directory.
func below(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	found := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		found[rel], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A subdataset that cannot be had is left out of a selection, and told; all others are
// there.
func TestSelectionWithoutASubdataset(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	s, top, _ := study(t, u)
	s.SetGitFault(func(r publisher.Request) publisher.Fault {
		if strings.Contains(r.Path, "/prep.git/") {
			return publisher.Status(404, 0)
		}
		return nil
	})
	u.fails(4, []string{"derivatives/prep is left out", "prep.git"}, "list", "--dataset", s.GitURL(top), "--sub", "01", "--derivatives", "prep")
	r := u.run("list", "--dataset", s.GitURL(top), "--sub", "01", "--sourcedata")
	if r.code != 0 || !strings.Contains(r.out, "sub-01/anat/sub-01_T1w.nii.gz") {
		t.Errorf("exit %d\n%s%s", r.code, r.out, r.errout)
	}
}
