package index_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/index"
)

// TestMain doubles as the process that checks an index.
func TestMain(m *testing.M) {
	if dir := os.Getenv("CHECK_INDEX"); dir != "" {
		if err := index.Check(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv("FILL_DISK_OF_INDEX"); dir != "" {
		if err := useOnAFullDisk(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv("OPEN_INDEX"); dir != "" {
		os.Exit(openOnce(dir))
	}
	os.Exit(m.Run())
}

func check(dir string) error {
	cmd := exec.Command(os.Args[0])
	// The race detector would sleep a second at each exit.
	cmd.Env = append(os.Environ(), "CHECK_INDEX="+dir, "GORACE=atexit_sleep_ms=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %.200s", err, out)
	}
	return nil
}

func open(t *testing.T, dir string) *index.Index {
	t.Helper()
	x, err := index.Open(dir, index.Options{Check: check})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// copyTree leaves holes holes: Badger's files are mostly that.
func copyTree(to, from string) error {
	return exec.Command("cp", "-a", "--sparse=always", from+"/.", to).Run()
}

// Whatever happens to the database's files, opening works, and nothing that
// is read back was never written.
func TestDamagedIndexIsRebuilt(t *testing.T) {
	whole := t.TempDir()
	x := open(t, whole)
	if err := save(x.Table(index.Objects), records()); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	known := records()
	harm := map[string]func(path string, content []byte) error{
		"deleted":   func(p string, _ []byte) error { return os.Remove(p) },
		"emptied":   func(p string, _ []byte) error { return os.Truncate(p, 0) },
		"truncated": func(p string, c []byte) error { return os.Truncate(p, int64(len(c)/2)) },
		"zeroed":    func(p string, c []byte) error { return os.WriteFile(p, make([]byte, len(c)), 0o600) },
		"flipped": func(p string, c []byte) error {
			c = bytes.Clone(c)
			if len(c) > 0 {
				c[len(c)/3] ^= 0x10
			}
			return os.WriteFile(p, c, 0o600)
		},
	}
	files, err := filepath.Glob(filepath.Join(whole, "db", "*"))
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for how, do := range harm {
		for _, file := range files {
			name := filepath.Base(file)
			t.Run(how+"/"+name, func(t *testing.T) {
				dir := t.TempDir()
				if err := copyTree(dir, whole); err != nil {
					t.Fatal(err)
				}
				os.Remove(filepath.Join(dir, "clean"))
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if err := do(filepath.Join(dir, "db", name), content); err != nil {
					t.Fatal(err)
				}
				x := open(t, dir)
				defer x.Close()
				for k, v := range load(t, x.Table(index.Objects), "") {
					if known[k] != v {
						t.Errorf("never written: %s %q", k, v)
					}
				}
				if err := save(x.Table(index.Objects), known); err != nil {
					t.Fatal(err)
				}
				if got := load(t, x.Table(index.Objects), ""); !maps.Equal(got, known) {
					t.Errorf("saved again: %v, want %v", got, known)
				}
			})
		}
	}
}

func TestCrashLoopMovesTheIndexAside(t *testing.T) {
	dir := t.TempDir()
	x := open(t, dir)
	if err := save(x.Table(index.Objects), records()); err != nil {
		t.Fatal(err)
	}
	x.Close()
	now := time.Now().UTC().Format(time.RFC3339)
	if err := os.WriteFile(filepath.Join(dir, "starts"), []byte(strings.Repeat(now+"\n", 3)), 0o600); err != nil {
		t.Fatal(err)
	}
	x = open(t, dir)
	defer x.Close()
	if n := len(load(t, x.Table(index.Objects), "")); n != 0 {
		t.Errorf("%d records in an index that ended the process three times", n)
	}
	if _, err := os.Stat(filepath.Join(dir, "db.damaged")); err != nil {
		t.Error(err)
	}
}

func TestOtherFormatIsRebuilt(t *testing.T) {
	dir := t.TempDir()
	x := open(t, dir)
	x.Close()
	if err := os.WriteFile(filepath.Join(dir, "format"), []byte("99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	x = open(t, dir)
	defer x.Close()
	if err := save(x.Table(index.Objects), records()); err != nil {
		t.Fatal(err)
	}
	if n := len(load(t, x.Table(index.Objects), "")); n != 500 {
		t.Errorf("%d records, want 500", n)
	}
}

func TestUnmakeableDirectoryIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if x, err := index.Open(filepath.Join(file, "index"), index.Options{}); err == nil {
		x.Close()
		t.Fatal("no error")
	} else if !errors.Is(err, fs.ErrExist) && !strings.Contains(err.Error(), "not a directory") {
		t.Error(err)
	}
}
