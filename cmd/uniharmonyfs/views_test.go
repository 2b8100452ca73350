package main_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// annexedSidecars is a dataset whose tables and sidecars git-annex holds.
func annexedSidecars() maker.Dataset {
	file := func(path, data string) maker.File {
		return maker.File{Path: path, Data: []byte(data), Annexed: true}
	}
	return maker.Dataset{Name: "annexed", Files: []maker.File{
		{Path: "dataset_description.json", Data: []byte(`{"Name":"made","BIDSVersion":"1.10.0"}`)},
		file("participants.tsv", "participant_id\tage\nsub-01\t30\nsub-02\t40\n"),
		file("task-rest_bold.json", `{"TaskName": "rest", "B0FieldSource": "pepolar"}`),
		file("sub-01/func/sub-01_task-rest_bold.nii.gz", "bold of 01"),
		file("sub-01/func/sub-01_task-rest_events.tsv", "onset\tduration\tstim_file\n1\t1\tcat.png\n"),
		file("stimuli/cat.png", "a cat"),
		file("stimuli/dog.png", "a dog"),
		file("sub-01/anat/sub-01_T1w.nii.gz", "T1w of 01"),
		file("sub-01/fmap/sub-01_acq-a_epi.nii.gz", "epi a"),
		file("sub-01/fmap/sub-01_acq-a_epi.json", `{"B0FieldIdentifier": "pepolar"}`),
		file("sub-01/fmap/sub-01_acq-b_epi.nii.gz", "epi b"),
		file("sub-01/fmap/sub-01_acq-b_epi.json", `{"IntendedFor": ["func/sub-01_task-rest_bold.nii.gz", "anat/sub-01_T1w.nii.gz"]}`),
		file("sub-01/fmap/sub-01_acq-c_epi.nii.gz", "epi c"),
		file("sub-01/fmap/sub-01_acq-c_epi.json", `{"IntendedFor": "anat/sub-01_T1w.nii.gz"}`),
		file("sub-02/func/sub-02_task-rest_bold.nii.gz", "bold of 02"),
	}}
}

// Sidecars that decide what belongs together are fetched when git-annex holds
// them, several at once, and what they say is remembered.
func TestAnnexedSidecarsDecide(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	s, made := serve(t, u, annexedSidecars())
	args := []string{"--dataset", made.Dir, "--sub", "01", "--suffix", "bold", "--ext", ".nii.gz"}
	want := []string{
		"dataset_description.json", "participants.tsv", "stimuli/cat.png",
		"sub-01/fmap/sub-01_acq-a_epi.json", "sub-01/fmap/sub-01_acq-a_epi.nii.gz", "sub-01/fmap/sub-01_acq-b_epi.json", "sub-01/fmap/sub-01_acq-b_epi.nii.gz",
		"sub-01/func/sub-01_task-rest_bold.nii.gz", "sub-01/func/sub-01_task-rest_events.tsv", "task-rest_bold.json",
	}
	mnt := u.path("mnt")
	u.must(slices.Concat([]string{"mount"}, args, []string{mnt})...)
	seen := walk(t, mnt)
	for _, name := range want {
		if _, there := seen[name]; !there {
			t.Errorf("%s is not shown", name)
		}
		delete(seen, name)
	}
	for name := range seen {
		t.Errorf("%s is shown", name)
	}
	for name, content := range map[string]string{
		"participants.tsv":                  "participant_id\tage\nsub-01\t30\n",
		"sub-01/fmap/sub-01_acq-b_epi.json": `{"IntendedFor": ["func/sub-01_task-rest_bold.nii.gz"]}`,
		".uniharmonyfs/synthesised":         "participants.tsv\nsub-01/fmap/sub-01_acq-b_epi.json\n",
	} {
		if got, err := os.ReadFile(filepath.Join(mnt, name)); err != nil || string(got) != content {
			t.Errorf("%s: %q, %v; want %q", name, got, err, content)
		}
	}
	// Only what decides was fetched: two tables, four sidecars.
	if n := s.Counts().Requests; n < 6 || n > 8 {
		t.Errorf("%d requests", n)
	}
	if got := lines(u.must(append([]string{"list"}, args...)...)); !slices.Equal(got, want) {
		t.Errorf("list: %q", got)
	}
	u.must(slices.Concat([]string{"evict"}, args)...)
	if objects := u.status().Store.Objects; objects != 1 { // acq-c's sidecar is not in the view
		t.Errorf("%d objects are here after evict, want 1", objects)
	}
	// Without the sources, what was learnt of sidecars still holds; the tables
	// are not here.
	r := u.run(append([]string{"list", "--offline"}, args...)...)
	if got := lines(r.out); r.code != 0 || !slices.Equal(got, want) || !strings.Contains(r.errout, "participants.tsv cannot be read now") {
		t.Errorf("list --offline: exit %d\n%s%s", r.code, r.out, r.errout)
	}
	u.fails(1, []string{"--where needs participants.tsv, which cannot be read"}, "list", "--offline", "--dataset", made.Dir, "--where", "age > 35")
	if got := u.must("list", "--dataset", made.Dir, "--where", "age > 35", "--companions", "none", "--root-files", "none"); !strings.Contains(got, "sub-02_task-rest_bold.nii.gz") || strings.Contains(got, "sub-01_") {
		t.Errorf("list --where: %s", got)
	}
}

// Without a source, every fieldmap that may be for an image is shown, and the
// user is told why.
func TestAnnexedSidecarsThatCannotBeHad(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	s, made := serve(t, u, annexedSidecars())
	s.Close()
	r := u.run("list", "--dataset", made.Dir, "--sub", "01", "--suffix", "bold", "--ext", ".nii.gz")
	for _, name := range []string{"acq-a_epi.nii.gz", "acq-b_epi.nii.gz", "acq-c_epi.nii.gz"} {
		if !strings.Contains(r.out, name) {
			t.Errorf("%s is not shown", name)
		}
	}
	for _, words := range []string{"hint: ", "cannot be read now", "IntendedFor"} {
		if !strings.Contains(r.errout, words) {
			t.Errorf("%q is not said:\n%s", words, r.errout)
		}
	}
}

// The facets of a dataset have its entities and the columns of its tables,
// with files and bytes.
func TestFacets(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	_, made := serve(t, u, annexedSidecars())
	var out struct{ Facets []bids.Facet }
	if err := json.Unmarshal([]byte(u.must("list", "--json", "--dataset", made.Dir, "--facets", "--modality", "func")), &out); err != nil {
		t.Fatal(err)
	}
	at := func(table, name string) []bids.FacetValue {
		for _, f := range out.Facets {
			if f.Table == table && f.Name == name {
				return f.Values
			}
		}
		return nil
	}
	events := int64(len("onset\tduration\tstim_file\n1\t1\tcat.png\n"))
	if got, want := at("participants", "age"), []bids.FacetValue{{Value: "30", Files: 2, Bytes: 10 + events}, {Value: "40", Files: 1, Bytes: 10}}; !slices.Equal(got, want) {
		t.Errorf("age: %v, want %v", got, want)
	}
	if got, want := at("", "suffix"), []bids.FacetValue{{Value: "bold", Files: 2, Bytes: 20}, {Value: "events", Files: 1, Bytes: events}}; !slices.Equal(got, want) {
		t.Errorf("suffix: %v, want %v", got, want)
	}
	text := u.must("list", "--dataset", made.Dir, "--facets")
	for _, words := range []string{"columns of participants.tsv, for --where", "age  30", "modality  anat"} {
		if !strings.Contains(text, words) {
			t.Errorf("%q is not in\n%s", words, text)
		}
	}
	why := u.must("list", "--dataset", made.Dir, "--where", "age > 35", "--explain", "sub-01/anat/sub-01_T1w.nii.gz")
	if !strings.Contains(why, "not shown") || !strings.Contains(why, "age is 30 in row sub-01 of participants.tsv") {
		t.Errorf("explained: %s", why)
	}
}

// Derivatives come with their dataset when they are asked for, by name or all;
// a derivative dataset is a dataset itself.
func TestDerivatives(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	e := unpackExample(t, u, "synthetic")
	derived := func(out string) (n int) {
		for _, name := range lines(out) {
			if strings.HasPrefix(name, "derivatives/") {
				n++
			}
		}
		return n
	}
	list := func(args ...string) string {
		return u.must(slices.Concat([]string{"list", "--dataset", e.repo, "--sub", "01"}, args)...)
	}
	if n := derived(list()); n != 0 {
		t.Errorf("%d derivatives nobody asked for", n)
	}
	all := derived(list("--derivatives"))
	if all < 10 {
		t.Errorf("%d derivatives of all", all)
	}
	for _, form := range [][]string{{"--derivatives=fmriprep"}, {"--derivatives", "fmriprep"}, {"--derivatives", "fmri*"}} {
		if n := derived(list(form...)); n != all {
			t.Errorf("%q: %d derivatives, want %d", form, n, all)
		}
	}
	u.fails(3, []string{"--derivatives fmriprp", "nearest: fmriprep"}, "list", "--dataset", e.repo, "--derivatives", "fmriprp")
	mnt := u.path("sub-99_mnt")
	for _, form := range [][]string{{"--derivatives", "fmriprep", mnt}, {mnt, "--derivatives", "fmriprep"}, {"--derivatives", mnt}} {
		r := u.run(slices.Concat([]string{"mount", "--dataset", e.repo, "--sub", "01"}, form)...)
		if r.code != 0 || !strings.Contains(r.errout, "will take sub-99 in the path") {
			t.Fatalf("%q: exit %d\n%s", form, r.code, r.errout)
		}
		if _, err := os.Stat(filepath.Join(mnt, "derivatives", "fmriprep", "dataset_description.json")); err != nil {
			t.Error(form, err)
		}
		u.must("unmount", mnt)
	}

	d := unpackExample(t, u, "ds000001-fmriprep")
	got := lines(u.must("list", "--dataset", d.repo, "--sub", "10", "--space", "MNI152NLin2009cAsym", "--desc", "preproc", "--suffix", "bold", "--ext", ".nii.gz", "--root-files", "none"))
	want := []string{".bidsignore", "dataset_description.json"}
	for _, run := range []string{"1", "2", "3"} {
		stem := "sub-10/func/sub-10_task-balloonanalogrisktask_run-" + run + "_space-MNI152NLin2009cAsym_res-2_desc-preproc_bold."
		want = append(want, stem+"json", stem+"nii.gz")
	}
	if !slices.Equal(got, want) {
		t.Errorf("of a derivative dataset:\n got %q\nwant %q", got, want)
	}
}

// A filter on an entity that a whole datatype lacks is told of.
func TestHintForALostDatatype(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	e := unpackExample(t, u, "ds001")
	for _, command := range [][]string{{"list", "--count"}, {"mount", u.path("mnt")}} {
		r := u.run(append(command, "--dataset", e.repo, "--modality", "anat,func", "--task", "balloonanalogrisktask")...)
		if r.code != 0 || !strings.Contains(r.errout, "--task balloonanalogrisktask,@none") {
			t.Errorf("%v: exit %d\n%s", command, r.code, r.errout)
		}
	}
	u.fails(3, []string{"--task balloonanalogrisktask leaves no file of --modality anat", "balloonanalogrisktask,@none"},
		"mount", "--dataset", e.repo, "--modality", "anat", "--task", "balloonanalogrisktask", u.path("none"))
}

// What is shown is the dataset's, byte for byte, but for what the mount says is
// synthesised; and sizes are right before a file is read.
func TestViewsKeepBytes(t *testing.T) {
	t.Parallel()
	for name, selection := range map[string][]string{
		"7t_trt":   {"--sub", "01,02", "--task", "rest", "--run", "1"},
		"ds000117": {"--sub", "01", "--modality", "meg,func"},
	} {
		u := newUser(t)
		e := unpackExample(t, u, name)
		mnt := u.path("mnt")
		u.must(slices.Concat([]string{"mount", "--dataset", e.repo}, selection, []string{mnt})...)
		said, err := os.ReadFile(filepath.Join(mnt, ".uniharmonyfs", "synthesised"))
		if err != nil {
			t.Fatal(err)
		}
		synthesised := lines(string(said))
		if len(synthesised) < 2 || !slices.Contains(synthesised, "participants.tsv") {
			t.Errorf("%s: synthesised: %q", name, synthesised)
		}
		for file, size := range walk(t, mnt) {
			got, err := os.ReadFile(filepath.Join(mnt, file))
			if err != nil || int64(len(got)) != size {
				t.Errorf("%s: %s: %d bytes of %d, %v", name, file, len(got), size, err)
			}
			want, err := os.ReadFile(filepath.Join(e.dir, file))
			if same := bytes.Equal(got, want); err != nil || same == slices.Contains(synthesised, file) {
				t.Errorf("%s: %s is the dataset's: %v, but synthesised: %v, %v", name, file, same, !same, err)
			}
		}
		u.must("unmount", mnt)
	}
}
