package fetch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/program"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
)

func FuzzRefs(f *testing.F) {
	const id = "c4443a1fc81d21f39141e3744b654e2356956610"
	for _, s := range []string{
		"ref: refs/heads/main\tHEAD\n" + id + "\tHEAD\n" + id + "\trefs/heads/main\n" + id + "\trefs/heads/git-annex\n" + id + "\trefs/tags/1.0.0^{}\n",
		id + "\tHEAD\n", "ref: refs/heads/x\tHEAD\n" + id + "\trefs/heads/y\n", id + "\trefs/heads/\n", "\t\n", "x\trefs/heads/main\n", id + "\trefs/tags/\u202e\x9b\n", id + "\trefs/remotes/origin/git-annex\n",
	} {
		f.Add(s, "1.0.0")
		f.Add(s, "")
	}
	f.Fuzz(func(t *testing.T, out, version string) {
		r, err := parseRefs(out)
		if err != nil {
			return
		}
		for name, id := range r.commit {
			if !isRef(name) || !isID(string(id)) {
				t.Errorf("ref %q is %q", name, id)
			}
		}
		if r.head != "" && r.commit[r.head] == "" {
			t.Errorf("HEAD is %q, which is not there", r.head)
		}
		ref, err := r.choose(version)
		if err != nil {
			if strings.ContainsFunc(err.Error(), unicode.IsControl) || len(err.Error()) > 2000 {
				t.Errorf("not harmless: %q", err)
			}
			return
		}
		if ref != "" && r.commit[ref] == "" || strings.HasPrefix(ref, "-") || strings.ContainsAny(ref, ":*? \n") {
			t.Errorf("version %q is the ref %q", version, ref)
		}
		for _, spec := range r.annexRefspec() {
			if strings.Count(spec, ":") != 1 {
				t.Errorf("refspec %q", spec)
			}
		}
	})
}

func FuzzManifest(f *testing.F) {
	for _, s := range []string{
		`{"url":"https://example.org/a","versions":{"":"c4443a1fc81d21f39141e3744b654e2356956610"}}`, `{}`, `[]`, `null`, `{"versions":{"1":"../../x"}}`, `{"versions":{"a":""},"behind":["--x"],"annex":"-x"}`, "\xff",
		`{"url":"https://u:secret@example.org/a"}`,
	} {
		f.Add([]byte(s))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(filepath.Join(dir, manifestName), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := readManifest(dir)
		if err != nil {
			return
		}
		for _, version := range []string{"", "1", "c4443a1"} {
			if id, ok := m.known(version); ok && !isID(string(id)) {
				t.Errorf("version %q is the commit %q", version, id)
			}
		}
		for _, id := range m.Behind {
			if !isID(string(id)) {
				t.Errorf("behind: %q", id)
			}
		}
		if m.Annex != "" && !isRef(m.Annex) {
			t.Errorf("the git-annex branch is %q", m.Annex)
		}
		m.Versions = map[string]gitstore.OID{}
		m.add("x", fetched{commit: "c4443a1fc81d21f39141e3744b654e2356956610"})
	})
}

// Whatever git says of its progress is harmless to show.
func FuzzProgress(f *testing.F) {
	for _, s := range []string{"Receiving objects:  50% (1/2), 1.00 KiB\r", "remote: Counting objects\rfatal: early EOF", "error: \x1b[2J\n\n\nfatal: x", "\xff\xfe", "Receiving objects: 9999999999999999999% (-1/0)\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, words string) {
		w := &program.Words{Tell: func(p Progress) {
			if p.Done < 0 || p.Total < 0 || strings.ContainsFunc(p.Text, unicode.IsControl) {
				t.Errorf("progress %+v", p)
			}
		}}
		w.Write([]byte(words))
		w.Text()
	})
}
