package index_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/index"
)

// An index that kills whoever opens it after a clean stop kills once: then it is
// looked at by another process.
func TestDeadlyIndexKillsOnce(t *testing.T) {
	dir := t.TempDir()
	x := open(t, dir)
	if err := save(x.Table(index.Objects), records()); err != nil {
		t.Fatal(err)
	}
	x.Close()
	tables, _ := filepath.Glob(filepath.Join(dir, "db", "*.sst"))
	if len(tables) == 0 {
		t.Fatal("no tables")
	}
	// As the process left it that died.
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "starts"), []byte("2020-01-01T00:00:00Z\n"), 0o600), os.Truncate(tables[0], 100)); err != nil {
		t.Fatal(err)
	}
	x = open(t, dir)
	defer x.Close()
	if n := len(load(t, x.Table(index.Objects), "")); n != 0 {
		t.Errorf("%d records of a truncated table", n)
	}
}

// What cannot be written is done without.
func TestUnusableDirectoryIsDoneWithout(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"read-only": func(dir string) error {
			return errors.Join(syscall.Mount(dir, dir, "", syscall.MS_BIND, ""), syscall.Mount("", dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
		},
		"immutable": func(dir string) error {
			return exec.Command("chattr", "+i", dir).Run()
		},
		"a file in its place": func(dir string) error {
			return errors.Join(os.RemoveAll(filepath.Join(dir, "db")), os.WriteFile(filepath.Join(dir, "db"), nil, 0o600))
		},
		"empty":   func(dir string) error { return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)) },
		"deleted": os.RemoveAll,
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "index")
			x := open(t, dir)
			if err := save(x.Table(index.Objects), records()); err != nil {
				t.Fatal(err)
			}
			x.Close()
			t.Cleanup(func() {
				exec.Command("chattr", "-i", dir).Run()
				syscall.Unmount(dir, syscall.MNT_DETACH)
			})
			if err := spoil(dir); err != nil {
				t.Skip("skipped: cannot be made here: ", err)
			}
			x = open(t, dir)
			defer x.Close()
			load(t, x.Table(index.Objects), "")
			if err := save(x.Table(index.Objects), records()); err != nil {
				t.Fatal(err)
			}
			if n := len(load(t, x.Table(index.Objects), "")); n != 500 {
				t.Errorf("%d records, want 500", n)
			}
		})
	}
}

// A damaged index that was stopped cleanly ends nobody and hangs nobody, and
// what it gives back was written.
func TestDamageAfterACleanStop(t *testing.T) {
	whole := t.TempDir()
	x := open(t, whole)
	if err := save(x.Table(index.Objects), records()); err != nil {
		t.Fatal(err)
	}
	x.Close()
	tables, _ := filepath.Glob(filepath.Join(whole, "db", "*.sst"))
	table := filepath.Base(tables[0])
	st, err := os.Stat(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, harm := range map[string]func(path string) error{
		"truncated": func(p string) error { return os.Truncate(p, st.Size()/2) },
		"emptied":   func(p string) error { return os.Truncate(p, 0) },
		"flipped": func(p string) error {
			b, err := os.ReadFile(p)
			for i := range b {
				if i%97 == 50 {
					b[i] ^= 0x40
				}
			}
			return errors.Join(err, os.WriteFile(p, b, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := copyTree(dir, whole); err != nil {
				t.Fatal(err)
			}
			if err := harm(filepath.Join(dir, "db", table)); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(os.Environ(), "OPEN_INDEX="+dir, "GORACE=atexit_sleep_ms=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %.2000s", err, out)
			}
		})
	}
}

// openOnce opens an index and looks whether what it has was written.
func openOnce(dir string) int {
	x, err := index.Open(dir, index.Options{Check: check})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	known := records()
	wrong := 0
	x.Table(index.Objects).LoadAll("", func(key string, value []byte) error {
		if known[key] != string(value) {
			wrong++
		}
		return nil
	})
	if err := errors.Join(save(x.Table(index.Objects), records()), x.Close()); err != nil || wrong > 0 {
		fmt.Println(wrong, "wrong records,", err)
		return 1
	}
	return 0
}
