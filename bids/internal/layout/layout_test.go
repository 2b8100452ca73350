package layout

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func of(paths ...string) *Layout {
	slices.Sort(paths)
	return New(len(paths), func(i int) string { return paths[i] }, nil)
}

// file finds a file that must be there.
func (l *Layout) file(t *testing.T, path string) int32 {
	t.Helper()
	i, ok := l.FileAt(path)
	if !ok {
		t.Fatalf("%s is not found", path)
	}
	return i
}

func TestPlaces(t *testing.T) {
	want := map[string]struct {
		place                        Place
		sub, ses, datatype, pipeline string
	}{
		"README":                                     {place: Root},
		".bidsignore":                                {place: Root},
		".gitattributes":                             {place: Hidden},
		".git/config":                                {place: Hidden},
		"sub-01/ses-a/anat/sub-01_T1w.nii":           {Subject, "01", "a", "anat", ""},
		"sub-01/ses-a/anat/.hidden":                  {Hidden, "01", "a", "anat", ""},
		"sub-01/anat/deep/er/x.nii":                  {Subject, "01", "", "anat", ""},
		"sub-01/sub-01_scans.tsv":                    {Subject, "01", "", "", ""},
		"tpl-x/cohort-1/anat/tpl-x_T1w.nii":          {Subject, "x", "1", "anat", ""},
		"phenotype/mood.tsv":                         {place: Phenotype},
		"stimuli/a.png":                              {place: Stimuli},
		"code/run.sh":                                {place: Code},
		"sourcedata/sub-01/raw.dcm":                  {Sourcedata, "01", "", "", ""},
		"derivatives/README":                         {place: Derivatives},
		"derivatives/fmriprep/README":                {Root, "", "", "", "fmriprep"},
		"derivatives/fmriprep/sub-01/anat/x_T1w.nii": {Subject, "01", "", "anat", "fmriprep"},
		"derivatives/sub-02/anat/x_T1w.nii":          {Subject, "02", "", "anat", "derivatives"},
		"derivatives/fmriprep/logs/a.txt":            {Other, "", "", "", "fmriprep"},
		"else/sub-01/x":                              {place: Other},
	}
	var paths []string
	for p := range want {
		paths = append(paths, p)
	}
	l := of(paths...)
	for p, w := range want {
		f := l.Files[l.file(t, p)]
		d := l.Dirs[f.Dir]
		text := func(w Word) string { return l.Words.Text[w] }
		if got := fmt.Sprint(f.Place, text(d.Sub), text(d.Ses), text(d.Datatype), text(d.Pipeline)); got != fmt.Sprint(w.place, w.sub, w.ses, w.datatype, w.pipeline) {
			t.Errorf("%s is %s, want %v", p, got, w)
		}
	}
}

// What is in an opaque directory is one file with it.
func TestOpaqueDirectoriesAreOneFile(t *testing.T) {
	const ds = "sub-01/meg/sub-01_task-a_meg.ds"
	l := of(ds+"/.b", ds+"/a/b", ds+"/c", "sub-01/meg/sub-01_task-a_meg.json", "sub-01/meg/sub-01_task-a_meg.ds.txt")
	i := l.file(t, ds)
	if f := l.Files[i]; !f.Opaque || f.Count != 3 || l.PathOf(i) != ds {
		t.Errorf("%+v at %s", f, l.PathOf(i))
	}
	if _, ok := l.FileAt(ds + "/c"); ok {
		t.Error("a part of it is a file of its own")
	}
	if got := l.List([]int32{i}); len(got) != 3 {
		t.Errorf("its paths are %v", got)
	}
	if len(l.Files) != 3 {
		t.Errorf("%d files, want 3", len(l.Files))
	}
}

func TestFind(t *testing.T) {
	l := of("a/b", "a/c", "a.x", "ab", "b")
	for p, want := range map[string]bool{"a/b": true, "a": false, "ab": true, "": false, "z": false, "a/": false} {
		if _, ok := l.FileAt(p); ok != want {
			t.Errorf("%q is there: %v", p, ok)
		}
	}
	first, end := l.FilesBelow("a")
	if l.PathOf(first) != "a/b" || end-first != 2 {
		t.Errorf("below a: from %s, %d files", l.PathOf(first), end-first)
	}
	if i, _ := l.PathAt("a/"); !l.GoesOn(i, "a/") || l.GoesOn(i, "b") {
		t.Error("the first path after a/ is below it")
	}
}

// A file applies to another if it has no entity that the other lacks or has with
// another value: the inheritance principle.
func TestApplies(t *testing.T) {
	const bold = "sub-01/func/sub-01_task-a_run-1_bold.nii"
	others := map[string]bool{
		"task-a_bold.json": true, "bold.json": true, "task-b_bold.json": false, "sub-01/func/sub-01_task-a_run-01_bold.json": true,
		"sub-01/func/sub-01_task-a_run-2_bold.json": false, "sub-01/func/sub-01_task-a_acq-x_bold.json": false, "sub-01/sub-01_bold.json": true,
	}
	paths := []string{bold}
	for p := range others {
		paths = append(paths, p)
	}
	l := of(paths...)
	f := l.Files[l.file(t, bold)]
	for p, want := range others {
		if l.Applies(l.Files[l.file(t, p)], f, nil) != want {
			t.Errorf("%s applies: %v", p, !want)
		}
	}
	g := l.Files[l.file(t, "sub-01/func/sub-01_task-a_acq-x_bold.json")]
	if !l.Applies(g, f, []string{"acq"}) {
		t.Error("an entity that may be more is none that differs")
	}
	if l.Equal(g, f, "acq") || !l.Equal(g, l.Files[l.file(t, "sub-01/func/sub-01_task-a_acq-x_bold.json")], "") {
		t.Error("equal are those with the same entities")
	}
	if got := len(l.Named(f.Dir, "bold", ".json")); got != 3 {
		t.Errorf("%d sidecars in the directory, want 3", got)
	}
	if got := len(l.Named(f.Dir, "bold", "")); got != 4 {
		t.Errorf("%d files of the suffix in the directory, want 4", got)
	}
	if got := len(l.Named(f.Dir, "T1w", "")); got != 0 {
		t.Errorf("%d files of a suffix that is nowhere", got)
	}
}

// resolve finds the file that a reference in a sidecar of file i names.
func (l *Layout) resolve(ref string, i int32) (int32, bool) {
	for _, p := range l.References(ref, i) {
		if g, ok := l.FileAt(p); ok {
			return g, true
		}
	}
	return 0, false
}

func TestReferences(t *testing.T) {
	const sidecar = "sub-01/ses-a/fmap/sub-01_epi.json"
	l := of(sidecar, "sub-01/ses-a/func/x_bold.nii", "sub-02/func/y_bold.nii", "derivatives/p/sub-01/fmap/sub-01_epi.json", "derivatives/p/sub-01/func/x.nii")
	for ref, want := range map[string]string{
		"ses-a/func/x_bold.nii":              "sub-01/ses-a/func/x_bold.nii",
		"/ses-a/func/x_bold.nii":             "sub-01/ses-a/func/x_bold.nii",
		"bids::sub-02/func/y_bold.nii":       "sub-02/func/y_bold.nii",
		"sub-02/func/y_bold.nii":             "sub-02/func/y_bold.nii",
		"bids:other:sub-02/func/y_bold.nii":  "",
		"bids::../../sub-02/func/y_bold.nii": "",
		"":                                   "",
		"nowhere":                            "",
	} {
		got := ""
		if g, ok := l.resolve(ref, l.file(t, sidecar)); ok {
			got = l.PathOf(g)
		}
		if got != want {
			t.Errorf("%q leads to %q, want %q", ref, got, want)
		}
	}
	g, ok := l.resolve("bids::sub-01/func/x.nii", l.file(t, "derivatives/p/sub-01/fmap/sub-01_epi.json"))
	if !ok || !strings.HasPrefix(l.PathOf(g), "derivatives/p/") {
		t.Error("a derivative's references are within it")
	}
}

func TestKinds(t *testing.T) {
	l := of("dataset_description.json", "README", "task-a_bold.json", "T1w.json", "participants.tsv", "sub-01/sub-01_scans.tsv", "sub-01/sub-01_scans.json", "sub-01/anat/sub-01_T1w.nii", "sub-01/anat/sub-01_scans.tsv", "notes.json")
	for p, want := range map[string]string{
		"dataset_description.json": "essential", "README": "", "task-a_bold.json": "inherits", "T1w.json": "inherits", "participants.tsv": "",
		"sub-01/sub-01_scans.tsv": "table", "sub-01/sub-01_scans.json": "table", "sub-01/anat/sub-01_scans.tsv": "", "notes.json": "",
	} {
		i, got := l.file(t, p), ""
		switch {
		case l.IsEssential(i):
			got = "essential"
		case l.IsTable(&l.Files[i]):
			got = "table"
		case l.Files[i].Place == Root && l.Inherits(i):
			got = "inherits"
		}
		if got != want {
			t.Errorf("%s is %q, want %q", p, got, want)
		}
	}
}
