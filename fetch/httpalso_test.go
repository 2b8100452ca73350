package fetch

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// What git-annex writes to a directory is read behind the URL that a second remote
// says, by key and as a tree of files.
func TestHttpalsoAsGitAnnexSetsItUp(t *testing.T) {
	gittest.EachAnnex(t, func(t *testing.T) {
		dir := t.TempDir()
		t.Cleanup(func() { run(t, dir, "chmod", "-R", "u+w", ".") })
		served := serveDir(t, dir)
		ds := filepath.Join(dir, "ds")
		run(t, dir, "sh", "-ec", fmt.Sprintf(`
mkdir keys tree locked
git init -q ds
cd ds
git annex init -q
mkdir sub
printf one >sub/one.bin
printf two >'t w&o.bin'
git annex add -q .
git commit -qm all
git annex initremote keys type=directory directory=%[1]s/keys encryption=none
git annex initremote --sameas=keys keys-web type=httpalso url=%[2]s/keys
git annex initremote tree type=directory directory=%[1]s/tree encryption=none exporttree=yes
git annex initremote --sameas=tree tree-web type=httpalso url=%[2]s/tree exporttree=yes
git annex initremote locked type=directory directory=%[1]s/locked encryption=shared
git annex initremote --sameas=locked locked-web type=httpalso url=%[2]s/locked
git annex copy -q --to keys sub
git annex copy -q --to locked .
git annex export -q "$(git branch --show-current)" --to tree
`, dir, served.url))
		path := filepath.Join(dir, "ds.bundle")
		run(t, ds, "git", "bundle", "create", "--quiet", path, "--all")
		byName := map[string][]string{"sub/one.bin": {"/keys/", "/tree/"}, "t w&o.bin": {"/tree/"}}
		for name, places := range byName {
			key := must(annex.ParseKey(strings.TrimSpace(run(t, ds, "git", "annex", "lookupkey", name))))
			r, _ := origin(t, path, OriginOptions{Fetcher: "native", Paths: func(annex.Key) []string { return []string{name} }})
			list, err := r.Sources(t.Context(), key)
			if err != nil || len(list) != len(places) {
				t.Fatalf("%s: %v, %v", name, list, err)
			}
			for i, place := range places {
				if s := bring(t, list[i:i+1], key); s == nil || !strings.Contains(s.String()+"/", place) {
					t.Errorf("%s is not in %s, but in %v", name, place, s)
				}
			}
		}
		if asked := served.told("/locked/"); len(asked) > 0 {
			t.Errorf("encrypted content was asked for: %v", asked)
		}
	})
}

// A remote that keeps keys behind URLs does not say how: it is one source, which
// learns.
func TestHttpalsoIsLearned(t *testing.T) {
	dir := t.TempDir()
	served := serveDir(t, dir)
	m, err := maker.Make(filepath.Join(t.TempDir(), "ds"), maker.Dataset{Name: "ds", Files: []maker.File{{Path: "a.bin", Size: 1000, Seed: 1, Annexed: true}, {Path: "b.bin", Size: 1000, Seed: 2, Annexed: true}}})
	if err != nil {
		t.Fatal(err)
	}
	keys := []annex.Key{m.Files[0].Key, m.Files[1].Key}
	addRemote(t, m, oraID, "encryption=none name=also type=httpalso url="+served.url+"/keys", keys...)
	r, _ := origin(t, m.Dir, OriginOptions{Fetcher: "native"})
	for i, key := range keys {
		path := filepath.Join(dir, "keys", key.HashDirMixed(), key.FileName())
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, must(maker.Bytes(m.Files[i].Content)), 0o644); err != nil {
			t.Fatal(err)
		}
		list, err := r.Sources(t.Context(), key)
		if err != nil || len(list) != 1 || bring(t, list, key) == nil {
			t.Fatalf("%v, %v", list, err)
		}
		if asked := served.told(key.FileName()); i > 0 && len(asked) != 1 {
			t.Errorf("the second key was looked for at %v", asked)
		}
	}
	if !slices.Equal(served.told(keys[1].FileName()), []string{"/keys/" + keys[1].HashDirMixed() + "/" + keys[1].FileName()}) {
		t.Errorf("it was looked for at %v", served.told(keys[1].FileName()))
	}
}
