package gitstore

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

// dataset clones one of the test datasets, or skips the test.
func dataset(t *testing.T, bundle string) string {
	t.Helper()
	clone := filepath.Join(t.TempDir(), "clone.git")
	gitRun(t, filepath.Dir(clone), "clone", "-q", "--bare", gittest.Dataset(t, bundle), clone)
	return clone
}

// walk reads all trees of a commit and returns the files by path.
func walk(t *testing.T, s *Store, commit OID) map[string]TreeEntry {
	t.Helper()
	ctx := context.Background()
	c, err := s.Commit(ctx, commit)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]TreeEntry)
	for level, paths := []OID{c.Tree}, []string{""}; len(level) > 0; {
		var next []OID
		var nextPaths []string
		if err := s.ReadAll(ctx, level, func(i int, _ string, data []byte) error {
			entries, err := ParseTree(data)
			for _, e := range entries {
				if e.Mode == ModeDir {
					next, nextPaths = append(next, e.ID), append(nextPaths, paths[i]+e.Name+"/")
				} else {
					files[paths[i]+e.Name] = e
				}
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		level, paths = next, nextPaths
	}
	return files
}

// TestDataset reads a real dataset: no file may be lost, every annexed one has
// a key, and its versions have URLs.
func TestDataset(t *testing.T) {
	dir := dataset(t, "ds004712.bundle")
	want := make(map[string]string)
	for line := range strings.SplitSeq(strings.TrimSuffix(gitRun(t, dir, "ls-tree", "-r", "-z", "refs/heads/main"), "\x00"), "\x00") {
		meta, path, _ := strings.Cut(line, "\t")
		want[path] = strings.Fields(meta)[2]
	}
	backends(t, func(t *testing.T, o Options) {
		s := open(t, dir, o)
		ctx := context.Background()
		head, err := s.Resolve(ctx, "main")
		if err != nil {
			t.Fatal(err)
		}
		files := walk(t, s, head)
		if len(files) != len(want) {
			t.Errorf("%d files, want %d", len(files), len(want))
		}
		var links []OID
		for _, path := range slices.Sorted(maps.Keys(files)) {
			e := files[path]
			if want[path] != string(e.ID) {
				t.Errorf("%q is %s, want %s", path, e.ID, want[path])
			}
			if e.Mode == ModeSymlink {
				links = append(links, e.ID)
			}
		}
		keys := make([]annex.Key, 0, len(links))
		if err := s.ReadAll(ctx, links, func(i int, _ string, data []byte) error {
			k, ok := annex.ParseLink(string(data))
			if _, _, verifiable := k.NewHash(); !ok || !verifiable {
				t.Errorf("%q gives the key %q", data, k)
			}
			keys = append(keys, k)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if len(keys) < 14000 {
			t.Errorf("%d annexed files", len(keys))
		}
		checkURLs(t, s, keys)
	})
}

func checkURLs(t *testing.T, s *Store, keys []annex.Key) {
	t.Helper()
	ctx := context.Background()
	branch, err := s.Resolve(ctx, "git-annex")
	if err != nil {
		t.Fatal(err)
	}
	log, err := s.ReadPath(ctx, string(branch), "remote.log")
	if err != nil {
		t.Fatal(err)
	}
	remotes := annex.ParseRemoteLog(log)
	for i := 0; i < len(keys); i += 10 {
		log, err := s.ReadPath(ctx, string(branch), keys[i].HashDirLower()+"/"+keys[i].FileName()+".log.rmet")
		if err != nil {
			t.Error(err)
			continue
		}
		for uuid, values := range annex.ParseRemoteMetadata(log) {
			urls := remotes[uuid].VersionedURLs(values)
			if len(urls) == 0 || !strings.HasPrefix(urls[0], "https://s3.amazonaws.com/openneuro.org/ds004712/") || !strings.Contains(urls[0], "?versionId=") {
				t.Errorf("%s: %q", keys[i], urls)
			}
		}
	}
}
