package main_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestDamagedRepositoryIsNotShown(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	pack := func(t *testing.T, dir string) string {
		packs, _ := filepath.Glob(filepath.Join(dir, "objects", "pack", "*.pack"))
		if len(packs) != 1 {
			t.Fatalf("packs: %v", packs)
		}
		os.Chmod(packs[0], 0o644)
		return packs[0]
	}
	for name, damage := range map[string]func(t *testing.T, dir string){
		"truncated pack": func(t *testing.T, dir string) {
			st, _ := os.Stat(pack(t, dir))
			os.Truncate(pack(t, dir), st.Size()/2)
		},
		"flipped bytes": func(t *testing.T, dir string) {
			p := pack(t, dir)
			data, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			for i := 64; i < len(data)-20; i += 64 {
				data[i] ^= 0xff
			}
			os.WriteFile(p, data, 0o644)
		},
		"no pack": func(t *testing.T, dir string) { os.Remove(pack(t, dir)) },
		"missing tree": func(t *testing.T, dir string) {
			loose(t, dir, pack(t, dir))
			remove(t, dir, strings.TrimSpace(git(t, "-C", dir, "rev-parse", "main:sub-00")))
		},
		"missing link": func(t *testing.T, dir string) {
			loose(t, dir, pack(t, dir))
			remove(t, dir, strings.TrimSpace(git(t, "-C", dir, "rev-parse", "main:sub-00/anat/sub-00_run-001_T1w.nii.gz")))
		},
		"empty object": func(t *testing.T, dir string) {
			loose(t, dir, pack(t, dir))
			id := strings.TrimSpace(git(t, "-C", dir, "rev-parse", "main:sub-00"))
			path := filepath.Join(dir, "objects", id[:2], id[2:])
			os.Chmod(path, 0o644)
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := small(t, u, strings.ReplaceAll(name, " ", "-"))
			damage(t, m.Dir)
			mnt := u.path("mnt")
			r := u.run("mount", "--dataset", m.Dir, mnt)
			if r.code != 4 || !strings.Contains(r.errout, "  - ") {
				t.Errorf("exit %d, want 4 and advice\n%s", r.code, r.errout)
			}
			t.Log(r.errout)
			if _, err := os.Lstat(mnt); !errors.Is(err, fs.ErrNotExist) {
				t.Error("it is shown all the same")
			}
		})
	}
}

// loose turns a pack into single objects.
func loose(t *testing.T, dir, pack string) {
	t.Helper()
	aside := filepath.Join(dir, "aside.pack")
	if err := os.Rename(pack, aside); err != nil {
		t.Fatal(err)
	}
	os.Remove(strings.TrimSuffix(pack, ".pack") + ".idx")
	f, err := os.Open(aside)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("git", "-C", dir, "unpack-objects", "-q")
	cmd.Stdin = f
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	os.Remove(aside)
}

func remove(t *testing.T, dir, id string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, "objects", id[:2], id[2:])); err != nil {
		t.Fatal(err)
	}
}

// A hidden clone that loses objects after the first mount.
func TestDamagedHiddenClone(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	s, m := serve(t, u, files("good", 3, 5000))
	url := s.GitURL(m) // of a dataset on this machine nothing is copied
	u.must("mount", "--dataset", url, u.path("mnt"))
	clone := u.status().Mounts[0].Clone
	u.must("unmount", u.path("mnt"))
	u.leaveDaemon()
	packs, _ := filepath.Glob(filepath.Join(clone, "objects", "pack", "*.pack"))
	objects, _ := filepath.Glob(filepath.Join(clone, "objects", "??", "*"))
	for _, p := range append(packs, objects...) {
		os.Chmod(p, 0o644)
		os.Truncate(p, 0)
	}
	os.RemoveAll(filepath.Join(u.cache, "index"))
	said := u.fails(4, []string{"uniharmonyfs clean good-"}, "mount", "--dataset", url, u.path("mnt"))
	t.Log(said)
	// The advice helps.
	u.must("clean", filepath.Base(clone))
	u.must("mount", "--dataset", url, u.path("mnt"))
	if got, err := os.ReadFile(u.path("mnt/README")); err != nil || len(got) == 0 {
		t.Errorf("README: %q, %v", got, err)
	}
}
