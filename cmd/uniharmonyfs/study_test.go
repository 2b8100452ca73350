package main_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// bidsStudy serves a study, whose raw data of two subjects is a subdataset, one, and of
// three its own, two; and that raw data by itself.
func bidsStudy(t *testing.T, u *user) (s *publisher.Server, top *maker.Made, raw map[string]*maker.Made) {
	t.Helper()
	s, _ = serve(t, u, files("unused", 1, 1000))
	made := func(d maker.Dataset) *maker.Made {
		d.Remotes = []maker.Remote{{Name: "s3-PUBLIC", Kind: maker.Versioned, URL: s.URL + "/openneuro.org"}}
		m, err := maker.Make(u.path(d.Name), d)
		if err != nil {
			t.Fatal(err)
		}
		s.Add(m)
		return m
	}
	raw = map[string]*maker.Made{
		"one": made(maker.BIDS(maker.BIDSOptions{Name: "one", Subjects: 2, Seed: 1})),
		"two": made(maker.BIDS(maker.BIDSOptions{Name: "two", Subjects: 3, Datatypes: []string{"func"}, Tasks: []string{"tap"}, Seed: 2})),
	}
	text := func(path, text string) maker.File { return maker.File{Path: path, Data: []byte(text)} }
	study := maker.Dataset{Name: "study", Files: []maker.File{
		text("dataset_description.json", `{"Name": "study", "BIDSVersion": "1.10.1", "DatasetType": "study", "License": "CC0", "Authors": ["A", "B"]}`),
		text("README.md", strings.Repeat("A study of two datasets. ", 10)),
		text(".gitmodules", "[submodule \"one\"]\n\tpath = sourcedata/one\n\turl = ../one.git\n"),
		text("sourcedata/dicoms/sub-01/x.dcm", "x"),
		text("derivatives/prep/dataset_description.json", `{"Name": "prep", "BIDSVersion": "1.10.1", "DatasetType": "derivative", "GeneratedBy": [{"Name": "prep"}]}`),
		text("derivatives/prep/sub-01/anat/sub-01_desc-x_mask.json", "{}"),
		{Path: "sourcedata/one", Commit: raw["one"].Commit()},
	}}
	for _, f := range raw["two"].Dataset.Files {
		f.Path = "sourcedata/two/" + f.Path
		study.Files = append(study.Files, f)
	}
	return s, made(study), raw
}

// A selection of a study shows of each of its raw datasets what it shows of that alone,
// and of those that have nothing of it nothing.
func TestStudy(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	s, top, raw := bidsStudy(t, u)
	n := 0 // of mounts
	mounted := func(m *maker.Made, args ...string) map[string][]byte {
		n++
		mnt := u.path("mnt" + string(rune('a'+n)))
		u.must(slices.Concat([]string{"mount", "--dataset", s.GitURL(m)}, args, []string{mnt})...)
		defer u.must("unmount", mnt)
		return below(t, mnt)
	}
	for _, c := range []struct {
		args []string
		of   []string // the raw datasets that have it
		more []string
	}{
		{[]string{"--sub", "01"}, []string{"one", "two"}, nil},
		{[]string{"--sub", "01", "--modality", "func"}, []string{"one", "two"}, nil},
		{[]string{"--sub", "03"}, []string{"two"}, nil},
		{[]string{"--suffix", "T1w"}, []string{"one"}, nil},
		{[]string{"--sub", "02", "--sourcedata"}, []string{"one", "two"}, nil},
		{[]string{"--sub", "01", "--sourcedata", "--derivatives", "prep"}, []string{"one", "two"}, []string{
			"sourcedata/dicoms/sub-01/x.dcm", "derivatives/prep/dataset_description.json", "derivatives/prep/sub-01/anat/sub-01_desc-x_mask.json"}},
		{nil, []string{"one", "two"}, nil},
	} {
		want := make(map[string][]byte)
		for _, p := range append(c.more, "dataset_description.json", "README.md") {
			data, err := maker.Bytes(top.Find(p).Content)
			if err != nil {
				t.Fatal(err)
			}
			want[p] = data
		}
		for _, name := range c.of {
			args := slices.DeleteFunc(slices.Clone(c.args), func(a string) bool { return slices.Contains([]string{"--sourcedata", "--derivatives", "prep"}, a) })
			for p, data := range mounted(raw[name], args...) {
				want["sourcedata/"+name+"/"+p] = data
			}
		}
		if found := mounted(top, c.args...); !maps.EqualFunc(found, want, bytes.Equal) {
			t.Errorf("%v shows\n%q\nwant\n%q", c.args, slices.Sorted(maps.Keys(found)), slices.Sorted(maps.Keys(want)))
		}
		if c.args == nil {
			continue // subdatasets are of a mount then
		}
		list := strings.Fields(u.must(append([]string{"list", "--dataset", s.GitURL(top)}, c.args...)...))
		if want := slices.Sorted(maps.Keys(want)); !slices.Equal(slices.Sorted(slices.Values(list)), want) {
			t.Errorf("%v lists\n%q\nwant\n%q", c.args, list, want)
		}
	}
	got := u.path("got")
	u.must("get", "--dataset", s.GitURL(top), "--sub", "01", got)
	if found := below(t, got); !maps.EqualFunc(found, mounted(top, "--sub", "01"), bytes.Equal) {
		t.Errorf("downloaded are %q", slices.Sorted(maps.Keys(found)))
	}
	if facets := u.must("list", "--facets", "--dataset", s.GitURL(top), "--task", "@any"); !strings.Contains(facets, "rest") || !strings.Contains(facets, "tap") {
		t.Errorf("facets are\n%s", facets)
	}
	why := u.must("list", "--explain", "sourcedata/one/participants.tsv", "--dataset", s.GitURL(top), "--sub", "01")
	if !strings.Contains(why, "1 of 2 rows") {
		t.Errorf("it is explained by\n%s", why)
	}
	s.SetGitFault(func(r publisher.Request) publisher.Fault {
		if strings.Contains(r.Path, "/one.git/") {
			return publisher.Status(404, 0)
		}
		return nil
	})
	u.must("clean", "--all")
	r := u.run("list", "--dataset", s.GitURL(top), "--sub", "01")
	if r.code != 0 || !strings.Contains(r.out, "sourcedata/two/sub-01/") || !strings.Contains(r.errout, "sourcedata/one is left out") {
		t.Errorf("without a raw dataset it exits with %d\n%s%s", r.code, r.out, r.errout)
	}
}

// A view of a study is a valid dataset, and so is each raw dataset in it.
func TestViewsOfAStudyAreValid(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while")
	}
	t.Parallel()
	list := validators(t)
	u := newUser(t)
	s, top, _ := bidsStudy(t, u)
	mnt := u.path("mnt")
	for _, args := range [][]string{{"--sub", "01"}, {"--suffix", "T1w"}, {"--recursive"}} {
		u.must(slices.Concat([]string{"mount", "--dataset", s.GitURL(top)}, args, []string{mnt})...)
		for _, dir := range []string{"", "sourcedata/one", "sourcedata/two"} {
			if _, err := os.Stat(filepath.Join(mnt, dir)); err != nil {
				continue
			}
			for _, v := range list {
				if dir == "" && v.name == "bids-validator" {
					continue // it does not know studies
				}
				if codes := v.check(t, filepath.Join(mnt, dir)); len(codes) > 0 {
					t.Errorf("%v: %s finds %v in %q", args, v.name, codes, dir)
				}
			}
		}
		u.must("unmount", mnt)
	}
}
