package subdatasets

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

// python returns an interpreter with DataLad; what is beside it is found first.
func python(t *testing.T) string {
	t.Helper()
	p := os.Getenv("UNIHARMONYFS_TEST_PYTHON")
	if p == "" {
		p = "python3"
	}
	t.Setenv("PATH", filepath.Dir(p)+string(os.PathListSeparator)+os.Getenv("PATH"))
	if err := exec.Command(p, "-c", "import datalad").Run(); err != nil {
		t.Skipf("%s has no datalad: set UNIHARMONYFS_TEST_PYTHON to an interpreter that has (%v)", p, err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(p), "datalad")); err != nil {
		t.Skipf("%s has no datalad beside it", p)
	}
	if _, err := exec.LookPath("git-annex"); err != nil {
		t.Skip("git-annex is not installed")
	}
	return p
}

// What DataLad itself made, published in a RIA store and cloned from there: the places
// are those that it would try in its clone, and each level is had from the store.
func TestDataLadsOwnStore(t *testing.T) {
	b := newBench(t)
	p := python(t)
	dir := gittest.AnnexDir(t)
	datalad := func(at string, args ...string) string {
		return gittest.Run(t, at, append([]string{filepath.Join(filepath.Dir(p), "datalad"), "-l", "error", "-f", "disabled"}, args...)...)
	}
	super, clone, store := filepath.Join(dir, "super"), filepath.Join(dir, "clone"), "ria+file://"+filepath.Join(dir, "store")
	datalad(dir, "create", super)
	datalad(super, "create", "-d", "^", "derivatives/sub")
	datalad(super, "create", "-d", "^", "derivatives/sub/lower")
	datalad(super, "create-sibling-ria", "-r", "-s", "ria", "--new-store-ok", "--alias", "mine", store)
	datalad(super, "push", "-r", "--to", "ria")
	id := strings.TrimSpace(gittest.Run(t, super, "git", "config", "-f", ".datalad/config", "datalad.dataset.id"))
	datalad(dir, "clone", store+"#"+id, clone)

	var said struct {
		Datasets []map[string]struct{ List []Place }
	}
	question, _ := json.Marshal(map[string]any{"cases": nil, "datasets": []string{clone}})
	oracle := exec.Command(p, "../internal/candidates/testdata/oracle.py")
	oracle.Stdin, oracle.Stderr = bytes.NewReader(question), os.Stderr
	out, err := oracle.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatal(err)
	}
	read := func(at, name string) []byte {
		data, err := os.ReadFile(filepath.Join(at, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	o := b.options(string(read(clone, ".gitmodules")))
	o.Config = read(clone, ".datalad/config")
	here := b.set(b.parent(clone), o)
	list, skipped := here.parent.List(here.records["derivatives/sub"])
	var got []Place
	for _, c := range list {
		got = append(got, Place{URL: c.URL, Name: c.Name, Cost: c.Cost})
	}
	if want := said.Datasets[0]["derivatives/sub"].List; len(want) < 2 || !reflect.DeepEqual(got, want) || len(skipped) > 0 {
		t.Errorf("got  %+v (%v)\nwant %+v", got, skipped, want)
	}

	commit := func(at string) gitstore.OID {
		return gitstore.OID(strings.TrimSpace(gittest.Run(t, at, "git", "rev-parse", "HEAD")))
	}
	for _, named := range []string{store + "#" + id, store + "#~mine", clone} {
		spec, err := fetch.ParseSpec(named, "")
		if err != nil {
			t.Fatal(err)
		}
		parent, err := b.open(t.Context(), spec, "", fetch.CloneOptions{Git: fetch.FindGit()})
		if err != nil {
			t.Fatal(err)
		}
		sub := filepath.Join(super, "derivatives", "sub")
		if named == clone {
			// That its settings lead to the store is not the user's word here.
			had, err := b.set(parent, o).Clone(t.Context(), "derivatives/sub", nowhere)
			if err == nil || !strings.Contains(err.Error(), "outside of the dataset") {
				t.Errorf("%v, %v", had, err)
			}
			gittest.Run(t, dir, "git", "config", "--global", "datalad.get.subdataset-source-candidate-200mine", store+"#{id}")
		}
		had, err := b.set(parent, o).Clone(t.Context(), "derivatives/sub", commit(sub))
		if err != nil {
			t.Fatalf("%s: %v", named, err)
		}
		lower := b.options(string(read(sub, ".gitmodules")))
		lower.Within = had
		if had, err = b.set(had.Clone, lower).Clone(t.Context(), "lower", commit(filepath.Join(sub, "lower"))); err != nil || had.From.Cost != 200 {
			t.Errorf("%s: %v, %v", named, had, err)
		}
	}
}
