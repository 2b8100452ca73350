package maker

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

func TestMakeIsDeterministic(t *testing.T) {
	const commit, branch = "bd6eb4f14b7589b2d30d7fc343220704fa80bb12", "8663c8fb1240df931f34455c231a08a6b43f7d4f"
	for _, workTree := range []bool{false, true} {
		d := Sample("http://127.0.0.1:1")
		d.WorkTree = workTree
		m := mustMake(t, t.TempDir(), d)
		if m.Commit() != commit || m.Branch != branch {
			t.Errorf("commit %s, git-annex branch %s; want %s, %s", m.Commit(), m.Branch, commit, branch)
		}
	}
}

func TestRepositoryIsSound(t *testing.T) {
	gittest.NeedGit(t)
	for _, d := range []Dataset{Sample("http://127.0.0.1:1"), BIDS(BIDSOptions{Subjects: 40, ImageSize: 1000}), {Name: "nothing"}} {
		m := mustMake(t, t.TempDir(), d)
		gittest.Run(t, m.Dir, "git", "fsck", "--full", "--strict")
		have := strings.Split(strings.TrimSpace(gittest.Run(t, m.Dir, "git", "-c", "core.quotePath=false", "ls-tree", "-r", "--name-only", "main")), "\n")
		if len(d.Files) > 0 && len(have) != len(d.Files) {
			t.Errorf("%s: git lists %d files, want %d", d.Name, len(have), len(d.Files))
		}
		for i := range m.Files {
			f := &m.Files[i]
			want, err := f.blob()
			if err != nil {
				t.Fatal(err)
			}
			if i > 50 {
				break
			}
			if got := gittest.Run(t, m.Dir, "git", "cat-file", "-p", "main:"+f.Path); got != string(want) {
				t.Errorf("%s: git has %q, want %q", f.Path, got, want)
			}
		}
	}
}

func TestVersions(t *testing.T) {
	gittest.NeedGit(t)
	m := mustMake(t, t.TempDir(), Sample("http://127.0.0.1:1"))
	for rev, want := range map[string]string{"0.9.0": m.Commits[0], "1.0.0": m.Commits[1], "latest": m.Commit(), "main~1": m.Commits[0]} {
		if got := strings.TrimSpace(gittest.Run(t, m.Dir, "git", "rev-parse", rev)); got != want {
			t.Errorf("%s is %s, want %s", rev, got, want)
		}
	}
	if got := gittest.Run(t, m.Dir, "git", "show", "0.9.0:README"); got != "hi\n" {
		t.Errorf("README of the first version: %q", got)
	}
}

func TestWorkTree(t *testing.T) {
	gittest.NeedGit(t)
	for _, present := range []bool{false, true} {
		d := Sample("http://127.0.0.1:1")
		d.WorkTree, d.Present = true, present
		m := mustMake(t, t.TempDir(), d)
		if out := gittest.Run(t, m.Dir, "git", "-c", "filter.annex.process=", "diff", "--cached", "--stat", "HEAD"); out != "" {
			t.Errorf("the index differs from HEAD:\n%s", out)
		}
		for i := range m.Files {
			f := &m.Files[i]
			got, err := os.ReadFile(filepath.Join(m.Dir, f.Path))
			want, _ := Bytes(f.Content)
			switch {
			case f.Link != "":
			case present || !f.Annexed:
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("present %t: %s: %d bytes, %v", present, f.Path, len(got), err)
				}
			case f.Unlocked:
				if k, ok := annex.ParsePointer(got); !ok || k != f.Key {
					t.Errorf("%s is no pointer file: %q", f.Path, got)
				}
			case err == nil:
				t.Errorf("%s can be read", f.Path)
			}
		}
	}
}

func TestLinksAndPointersName(t *testing.T) {
	m := mustMake(t, t.TempDir(), Sample("http://127.0.0.1:1"))
	for i := range m.Files {
		f := &m.Files[i]
		if !f.Annexed {
			continue
		}
		blob, _ := f.blob()
		k, ok := annex.ParseLink(string(blob))
		if f.Unlocked {
			k, ok = annex.ParsePointer(blob)
		}
		if !ok || k != f.Key {
			t.Errorf("%s: %q names %v", f.Path, blob, k)
		}
		h, want, ok := k.NewHash()
		if !ok {
			t.Fatalf("%s: key %v cannot be checked", f.Path, k)
		}
		feed(h, f.Content, f.Content.Size())
		if got := h.Sum(nil); !strings.HasPrefix(k.Name(), want) || want != hexString(got) {
			t.Errorf("%s: content does not have key %v", f.Path, k)
		}
	}
}

func hexString(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for _, c := range b {
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}

func TestMakeRefuses(t *testing.T) {
	for name, files := range map[string][]File{
		"twice":      {{Path: "a"}, {Path: "b"}, {Path: "a"}},
		"no name":    {{Path: ""}},
		"no element": {{Path: "a//b"}},
		"absolute":   {{Path: "/a"}},
		"also a dir": {{Path: "a"}, {Path: "a.b"}, {Path: "a/b"}},
	} {
		if _, err := Make(t.TempDir(), Dataset{Name: "bad", Files: files}); err == nil {
			t.Errorf("%s: made", name)
		}
	}
	full := t.TempDir()
	mustMake(t, full, Dataset{Name: "one"})
	if _, err := Make(full, Dataset{Name: "two"}); err == nil {
		t.Error("made over another repository")
	}
}

func TestUnknownBackends(t *testing.T) {
	m := mustMake(t, t.TempDir(), Dataset{Name: "odd", Files: []File{
		{Path: "a.txt", Size: 5, Annexed: true, Backend: "WORM"},
		{Path: "b", Size: 5, Annexed: true, Backend: "XFOO"},
	}})
	if k := m.Find("a.txt").Key.String(); k != "WORM-s5-m1700000000--a.txt" {
		t.Error(k)
	}
	if k := m.Find("b").Key; k.Backend() != "XFOO" {
		t.Error(k)
	}
	lie, err := annex.ParseKey("SHA256E-s5--0000000000000000000000000000000000000000000000000000000000000000.txt")
	if err != nil {
		t.Fatal(err)
	}
	m = mustMake(t, t.TempDir(), Dataset{Name: "lie", Files: []File{{Path: "a.txt", Size: 5, Annexed: true, Key: lie}}})
	if m.Files[0].Key != lie {
		t.Error(m.Files[0].Key)
	}
}

func TestExtension(t *testing.T) {
	for name, want := range map[string]string{
		"a.nii.gz": ".nii.gz", "a": "", ".bashrc": "", "x/a.tar.gz.bak": ".gz.bak", "a.jsonl": "", "a.json": ".json",
		"a.b-c.gz": ".gz", "v1.2.nii.gz": ".nii.gz", "a.": "", "a..gz": ".gz",
	} {
		if got := extension(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
