package fetch

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
	"github.com/uniharmony/uniharmonyfs/internal/source"
	"github.com/uniharmony/uniharmonyfs/internal/source/sourcetest"
)

func keyOf(t testing.TB, content []byte) annex.Key {
	t.Helper()
	sum := sha256.Sum256(content)
	key, err := annex.ParseKey(fmt.Sprintf("SHA256E-s%d--%s.bin", len(content), hex.EncodeToString(sum[:])))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestFileSourceKeepsTheContract(t *testing.T) {
	sourcetest.Test(t, func(t *testing.T, content []byte) source.Source {
		path := filepath.Join(t.TempDir(), "a")
		if err := os.WriteFile(path, content, 0o400); err != nil {
			t.Fatal(err)
		}
		return &fileSource{path: path, key: keyOf(t, content)}
	}, sourcetest.Options{
		Missing: func(t *testing.T, content []byte) source.Source {
			return &fileSource{path: filepath.Join(t.TempDir(), "a"), key: keyOf(t, content)}
		},
	})
	// What is there and is something else is final too.
	dir := t.TempDir()
	short := filepath.Join(dir, "short")
	if err := os.WriteFile(short, []byte("ab"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/etc/passwd", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{short, link, dir, "/dev/zero"} {
		s := &fileSource{path: path, key: keyOf(t, []byte("abc"))}
		sourcetest.WantClass(t, sourcetest.Fetch(t, s, []byte("abc"), 0, 3), false, "")
		sourcetest.WantClass(t, s.Place(t.Context(), filepath.Join(t.TempDir(), "x"), func(int64) {}), false, "")
	}
}

func TestGitSourceKeepsTheContract(t *testing.T) {
	needGit(t)
	for _, program := range []string{"", FindGit()} {
		create := func(t *testing.T, content []byte, there bool) source.Source {
			dir := t.TempDir()
			run(t, dir, "git", "init", "-q", "--bare", ".")
			file := filepath.Join(t.TempDir(), "a")
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if there {
				run(t, dir, "git", "hash-object", "-w", "--no-filters", file)
			}
			store, err := gitstore.Open(dir, gitstore.Options{Git: program})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { store.Close() })
			sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(content)), content...))
			return &gitSource{wholeOnly: "git", store: store, id: gitstore.OID(hex.EncodeToString(sum[:]))}
		}
		sourcetest.Test(t, func(t *testing.T, content []byte) source.Source { return create(t, content, true) }, sourcetest.Options{
			Missing: func(t *testing.T, content []byte) source.Source { return create(t, content, false) },
		})
	}
}

func TestAnnexSourceKeepsTheContract(t *testing.T) {
	gittest.EachAnnex(t, func(t *testing.T) {
		create := func(t *testing.T, content []byte, fault publisher.Fault) (source.Source, *publisher.Server) {
			s, err := publisher.New(publisher.Options{DumbGit: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			m, err := maker.Make(filepath.Join(t.TempDir(), "ds"), maker.Dataset{
				Name: "ds", Files: []maker.File{{Path: "a.bin", Data: content, Annexed: true}},
				Remotes: []maker.Remote{{Name: "web", Kind: maker.Web, URL: s.URL + "/bucket"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			s.Add(m)
			if fault != nil {
				s.SetFault(publisher.Always(fault))
			}
			r, _ := origin(t, m.Dir, OriginOptions{Fetcher: "annex"})
			return annexOf(t, r, m.Files[0].Key), s
		}
		sourcetest.Test(t, func(t *testing.T, content []byte) source.Source {
			s, _ := create(t, content, nil)
			return s
		}, sourcetest.Options{
			Sizes: []int{1000},
			Missing: func(t *testing.T, content []byte) source.Source {
				s, _ := create(t, content, publisher.Status(404, 0))
				return s
			},
			Down: func(t *testing.T, content []byte) source.Source {
				s, server := create(t, content, nil)
				server.Close()
				return s
			},
			Hanging: func(t *testing.T, content []byte) source.Source {
				s, _ := create(t, content, publisher.Stall(-1))
				return s
			},
		})
	})
}
