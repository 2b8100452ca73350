package main_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// fillUp takes the last byte of a disk, as others may.
func fillUp(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<20); ; {
		if _, err := f.Write(block); err != nil {
			if len(block) == 1 {
				if !errors.Is(err, syscall.ENOSPC) {
					t.Fatal(err)
				}
				return
			}
			block = block[:len(block)/2]
		}
	}
}

// On a disk that others have filled to the last byte everything can be looked
// at, evicted, unpinned, unmounted and removed, by the daemon that was there and
// by one that has to be started, and neither dies.
func TestFullDiskCanBeCleaned(t *testing.T) {
	t.Parallel()
	for _, restarted := range []bool{false, true} {
		for name, clean := range map[string]func(u *user, file string){
			"clean": func(u *user, _ string) {
				if len(u.status().Mounts) > 0 {
					u.must("unmount", u.path("mnt"))
				}
				u.must("clean", "--all", "--pins")
			},
			"unmount": func(u *user, file string) {
				if len(u.status().Mounts) > 0 {
					u.must("unpin", file)
					u.must("evict", filepath.Dir(file))
					u.must("unmount", "--clean", u.path("mnt"))
				} else {
					u.must("clean", "--all", "--pins")
				}
			},
		} {
			if restarted {
				name += ", daemon restarted"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				u := newUser(t)
				disk := smallDisk(t, u, "size=200m")
				_, m := serve(t, u, files("filled", 12, 60_000))
				daemon := u.start("daemon", "--cache", u.cache, "--grace", "1m")
				eventually(t, "it serves", func() bool { _, err := os.Lstat(filepath.Join(u.cache, "daemon.sock")); return err == nil })
				u.must("mount", "--dataset", m.Dir, u.path("mnt"))
				u.waitForBranch()
				readers(t, u.path("mnt"), contents(t, m), 2)()
				file := filepath.Join(u.path("mnt"), m.Files[annexedFiles(m)[0]].Path)
				u.must("pin", file)
				fillUp(t, filepath.Join(disk, "filler"))
				if restarted {
					u.leaveDaemon()
				}
				began := time.Now()
				u.must("status")
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("status takes %v", took)
				}
				clean(u, file)
				// It may say that it could not write all it knew; a crash is 2.
				if code := daemon.ends(t, time.Minute); code != 0 && code != 1 {
					t.Errorf("the daemon has died: exit %d\n%.3000s", code, daemon.out.String())
				}
				if _, err := os.Stat(u.cache); !os.IsNotExist(err) {
					t.Errorf("the cache is still there: %v", err)
				}
			})
		}
	}
}
