package maker

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

// annexed runs git-annex and reads what it says, a line of JSON for each file.
func annexed(t *testing.T, program, dir string, args ...string) (said []map[string]any) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	out, failed := cmd.Output() // a file without a trusted copy is a failure
	dec := json.NewDecoder(bytes.NewReader(out))
	for dec.More() {
		var line map[string]any
		if err := dec.Decode(&line); err != nil {
			t.Fatalf("%v, %v: %s", err, failed, out)
		}
		said = append(said, line)
	}
	return said
}

// Content that is present is what git-annex itself takes for it.
func TestGitAnnexChecksContent(t *testing.T) {
	for _, program := range gittest.Annexes(t) {
		d := Sample("http://127.0.0.1:1")
		d.WorkTree, d.Present = true, true
		m := mustMake(t, gittest.AnnexDir(t), d)
		said := annexed(t, program, m.Dir, "fsck", "--json", "--numcopies=1")
		if len(said) != m.Annexed() {
			t.Errorf("git-annex checks %d files of %d", len(said), m.Annexed())
		}
		for _, line := range said {
			f := m.Find(line["file"].(string))
			if f == nil || line["success"] != true || line["key"] != f.Key.String() {
				t.Errorf("%v", line)
			}
		}
	}
}

// Where content is said to be is what git-annex reads in its branch, with the
// addresses that content is published at.
func TestGitAnnexFindsTheRemotes(t *testing.T) {
	for _, program := range gittest.Annexes(t) {
		m := mustMake(t, t.TempDir(), Sample("http://127.0.0.1:1"))
		clone := gittest.AnnexDir(t)
		gittest.Run(t, clone, "git", "clone", "-q", m.Dir, ".")
		gittest.Run(t, clone, "git", "config", "annex.private", "true")
		gittest.Run(t, clone, program, "init", "-q", "clone")
		said := annexed(t, program, clone, "whereis", "--json")
		for _, line := range said {
			f := m.Find(line["file"].(string))
			if f == nil {
				t.Fatalf("%v", line)
			}
			at := make(map[string]bool)
			var urls []any
			for _, where := range slices.Concat(line["whereis"].([]any), line["untrusted"].([]any)) {
				where := where.(map[string]any)
				at[where["uuid"].(string)] = true
				urls = append(urls, where["urls"].([]any)...)
			}
			want := make(map[string]bool)
			for i := range m.Dataset.Remotes {
				if r := &m.Dataset.Remotes[i]; r.Holds(&f.File) {
					want[m.UUID(r)] = true
				}
			}
			if !maps.Equal(at, want) {
				t.Errorf("%s is at %v, want %v", f.Path, at, want)
			}
			for _, u := range m.URLs(f) {
				// What is exported without versions may be another file by now:
				// git-annex names no address of it.
				if !strings.Contains(u, "/plain/") && !slices.Contains(urls, any(u)) {
					t.Errorf("%s: %q is none of %q", f.Path, u, urls)
				}
			}
		}
		if len(said) != m.Annexed() {
			t.Errorf("git-annex knows where %d files are, of %d", len(said), m.Annexed())
		}
		// Of what was exported, the tree is that of the last commit.
		tree := strings.TrimSpace(gittest.Run(t, m.Dir, "git", "rev-parse", "main^{tree}"))
		if log := gittest.Run(t, m.Dir, "git", "cat-file", "-p", "git-annex:export.log"); strings.Count(log, " "+tree+"\n") != 2 {
			t.Errorf("export.log: %s", log)
		}
	}
}

// A remote has what was given to it, under a version of its own for each content
// of a path.
func TestURLsOfVersions(t *testing.T) {
	m := mustMake(t, t.TempDir(), Sample("http://127.0.0.1:1"))
	const path = "sub-01/anat/sub-01_T1w.nii.gz"
	seen := make(map[string]bool)
	for i, version := range m.Versions {
		j := slices.IndexFunc(version, func(f MadeFile) bool { return f.Path == path })
		urls := m.URLs(&version[j])
		if len(urls) != 1 || !strings.HasPrefix(urls[0], "http://127.0.0.1:1/openneuro.org/small/"+path+"?versionId=") || seen[urls[0]] {
			t.Errorf("version %d: %q", i, urls)
		}
		seen[urls[0]] = true
	}
	for path, want := range map[string]int{"README": 0, "link": 0, "web.bin": 1, "empty.dat": 3} {
		if got := m.URLs(m.Find(path)); len(got) != want {
			t.Errorf("%s: %q", path, got)
		}
	}
	odd := m.URLs(m.Find("sub-01/a file with ümlaut & more.dat"))
	if len(odd) != 3 || !strings.Contains(odd[1], "/sub-01/a%20file%20with%20%C3%BCmlaut%20%26%20more.dat") {
		t.Errorf("%q", odd)
	}
	if m.Find("nowhere") != nil {
		t.Error("a file that is not there is found")
	}
}

// A materialized dataset is plain files, and is not written over what is there.
func TestMaterialize(t *testing.T) {
	m := mustMake(t, t.TempDir(), Sample("http://127.0.0.1:1"))
	dir := t.TempDir()
	if err := m.Materialize(dir); err != nil {
		t.Fatal(err)
	}
	var bytesThere int64
	for i := range m.Files {
		f := &m.Files[i]
		if f.Link != "" {
			if to, err := os.Readlink(filepath.Join(dir, f.Path)); to != f.Link || err != nil {
				t.Errorf("%s: %q, %v", f.Path, to, err)
			}
			continue
		}
		got, err := os.ReadFile(filepath.Join(dir, f.Path))
		want, wantErr := Bytes(f.Content)
		if err := errors.Join(err, wantErr); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", f.Path, len(got), err)
		}
		if f.Annexed {
			bytesThere += int64(len(got))
		}
	}
	if bytesThere != m.Bytes() {
		t.Errorf("%d bytes, said to be %d", bytesThere, m.Bytes())
	}
	dir = t.TempDir()
	mine := filepath.Join(dir, "web.bin")
	if err := os.WriteFile(mine, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := m.Materialize(dir); !errors.Is(err, os.ErrExist) {
		t.Errorf("written over what is there: %v", err)
	}
	if got, err := os.ReadFile(mine); string(got) != "mine" || err != nil {
		t.Errorf("what was there: %d bytes, %v", len(got), err)
	}
}

// Where nothing can be written, nothing is made, and that is said.
func TestMakeWhereNothingCanBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if m, err := Make(file, Dataset{Name: "x"}); err == nil {
		t.Errorf("made in a file: %v", m.Dir)
	}
	m := mustMake(t, t.TempDir(), Sample("http://127.0.0.1:1"))
	if err := m.Materialize(file); err == nil {
		t.Error("written into a file")
	}
}
