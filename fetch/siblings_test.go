package fetch

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/source/sourcetest"
)

// The repository that a dataset was cloned from is read by URL, bare and with a work
// tree, if its configuration says that it is the one that the logs name.
func TestSiblings(t *testing.T) {
	for _, tree := range []bool{false, true} {
		parent := t.TempDir()
		m, err := maker.Make(filepath.Join(parent, "ds"), maker.Dataset{
			Name: "ds", WorkTree: tree, Present: true, Files: []maker.File{{Path: "a.bin", Size: 1000, Seed: 1, Annexed: true}, {Path: "b.bin", Size: 1000, Seed: 2, Annexed: true}},
		})
		if err != nil {
			t.Fatal(err)
		}
		key, other := m.Files[0].Key, m.Files[1].Key
		content := must(maker.Bytes(m.Files[0].Content))
		id := strings.TrimSpace(run(t, m.Dir, "git", "config", "annex.uuid"))
		addLogs(t, m, map[string]string{
			key.HashDirLower() + "/" + key.FileName() + ".log":     "1800000000s 1 " + id + "\n",
			other.HashDirLower() + "/" + other.FileName() + ".log": "1800000000s 1 somebody-else\n",
		})
		git := strings.TrimSpace(run(t, m.Dir, "git", "rev-parse", "--absolute-git-dir"))
		run(t, git, "git", "update-server-info")
		served := serveDir(t, parent)
		at := served.url + "/ds"
		if tree {
			at += "/.git"
		}
		r, _ := origin(t, at, OriginOptions{Fetcher: "native"})
		list, err := r.Sources(t.Context(), key)
		if err != nil || len(list) != 1 {
			t.Fatalf("%v, %v", list, err)
		}
		before := len(served.told("/config")) // git's own
		for range 3 {
			if err := sourcetest.Fetch(t, list[0], content, 10, 500); err != nil {
				t.Error(err)
			}
		}
		if asked := len(served.told("/config")) - before; asked > 2 {
			t.Errorf("the configuration was asked for %d times", asked)
		}
		list, err = r.Sources(t.Context(), other)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != 0 { // what the repository is, is known by now
			t.Errorf("who is known not to have it is asked: %v", list)
		}
		if asked := served.told(other.FileName()); len(asked) > 0 {
			t.Errorf("it was asked for what others have: %v", asked)
		}
	}
}

// The sibling is asked only where the logs name somebody that nothing else is known
// of, and as the last before git-annex.
func TestWhenASiblingIsWorthAsking(t *testing.T) {
	s3, ria := annex.UUID("s3"), annex.UUID("ria")
	m := remotes{configs: map[annex.UUID]annex.RemoteConfig{
		s3: {"type": "S3"}, "dir": {"type": "directory"}, "x": {"type": "httpalso", "sameas-uuid": "second"}, "git": {"type": "git", "location": "ssh://example.org/a"},
		ria: {"type": "external", "externaltype": "ora", "archive-id": datasetID, "url": "ria+ssh://example.org/store"},
	}}
	m.special = specials(m.configs)
	for _, c := range []struct {
		have []annex.UUID
		want bool
	}{
		{nil, false}, {[]annex.UUID{s3, "dir", annex.WebUUID}, false}, {[]annex.UUID{s3, "second"}, false},
		{[]annex.UUID{s3, "someone"}, true}, {[]annex.UUID{ria}, true}, {[]annex.UUID{"git"}, true},
	} {
		here := map[annex.UUID]bool{"gone": false}
		for _, id := range c.have {
			here[id] = true
		}
		if m.unknown(here) != c.want {
			t.Errorf("%v: %v", c.have, !c.want)
		}
	}
}

// A special remote of type=git stands for a repository: it is asked where the dataset
// comes from elsewhere.
func TestCommonSiblings(t *testing.T) {
	parent := t.TempDir()
	m, err := maker.Make(filepath.Join(parent, "ds"), maker.Dataset{Name: "ds", Present: true, Files: []maker.File{{Path: "a.bin", Size: 1000, Seed: 1, Annexed: true}}})
	if err != nil {
		t.Fatal(err)
	}
	key := m.Files[0].Key
	content := must(maker.Bytes(m.Files[0].Content))
	id := strings.TrimSpace(run(t, m.Dir, "git", "config", "annex.uuid"))
	served := serveDir(t, parent)
	addRemote(t, m, id, "autoenable=true location="+served.url+"/ds name=common type=git", key)
	list := sourcesOf(t, bundle(t, m), key)
	if len(list) != 1 || list[0].Exact() {
		t.Fatalf("%v", list)
	}
	if err := sourcetest.Fetch(t, list[0], content, 10, 500); err != nil {
		t.Error(err)
	}
	// The same as what was cloned is there once.
	run(t, m.Dir, "git", "update-server-info")
	if list := sourcesOf(t, served.url+"/ds", key); len(list) != 1 || sourcetest.Fetch(t, list[0], content, 10, 500) != nil {
		t.Errorf("%v", list)
	}
	// What calls itself another repository is another one.
	run(t, m.Dir, "git", "config", "annex.uuid", "another")
	sourcetest.WantClass(t, sourcetest.Fetch(t, sourcesOf(t, bundle(t, m), key)[0], content, 0, 1000), false, "does not say")
}

// A repository's configuration says who git-annex knows it as: by itself, and as a store.
func TestNamesOfARepository(t *testing.T) {
	const core = "[core]\n\tbare = true\n"
	for text, want := range map[string][]annex.UUID{
		core: {}, core + "[annex]\n\tuuid = a\n": {"a"}, core + "[datalad \"ora-remote\"]\n\tuuid = b\n": {"b"},
		core + "[annex]\n\tuuid = a\n[datalad \"ora-remote\"]\n\tuuid = b\n": {"a", "b"},
		"[annex]\n\tuuid = a\n": nil, "<html>[core] [annex] uuid = 1</html>": nil, "": nil,
	} {
		got, err := parseIDs([]byte(text))
		if !slices.Equal(got, want) || (err != nil) != (want == nil) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}
