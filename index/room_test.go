package index_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/uniharmony/uniharmonyfs/index"
)

// takeAll fills the disk of a directory to its last byte.
func takeAll(dir string) error {
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		return err
	}
	defer f.Close()
	for page := make([]byte, 4096); err == nil; {
		_, err = f.Write(page)
	}
	if errors.Is(err, syscall.ENOSPC) {
		return nil
	}
	return err
}

// useOnAFullDisk is a process that has an index open while its disk fills.
func useOnAFullDisk(dir string) error {
	x, err := index.Open(dir, index.Options{})
	if err != nil {
		return err
	}
	objects, facts := x.Table(index.Objects), x.Table(index.Facts)
	if err := save(objects, map[string]string{"a": "kept"}); err != nil {
		return err
	}
	if err := takeAll(filepath.Dir(dir)); err != nil {
		return err
	}
	err = save(objects, map[string]string{"a": "too late"})
	if !errors.Is(err, index.ErrFull) || !strings.Contains(err.Error(), dir) {
		return fmt.Errorf("a small value on a full disk: %v", err)
	}
	err = save(facts, map[string]string{"a": strings.Repeat(" ", 1<<20)})
	if !errors.Is(err, index.ErrFull) {
		return fmt.Errorf("a large value on a full disk: %v", err)
	}
	if err := x.Close(); !errors.Is(err, index.ErrFull) {
		return fmt.Errorf("Close on a full disk: %v", err)
	}
	return nil
}

// A disk that fills under an open index ends no process: what comes then is
// refused, the index is left as it is, and what was in it is there when there
// is space again.
func TestIndexOnADiskThatFills(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can mount a small disk")
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=300m"); err != nil {
		t.Skip("skipped: cannot mount a tmpfs: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	dir := filepath.Join(disk, "index")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FILL_DISK_OF_INDEX="+dir, "GORACE=atexit_sleep_ms=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%.2000s", err, out)
	}
	full := open(t, dir)
	if got := load(t, full.Table(index.Objects), ""); len(got) != 0 {
		t.Errorf("an index in memory knows %v", got)
	}
	if err := full.Close(); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(disk, "filler")); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir)
	defer again.Close()
	if got := fmt.Sprint(load(t, again.Table(index.Objects), "")); got != "map[a:kept]" {
		t.Errorf("with space again the index knows %v", got)
	}
	if left, _ := filepath.Glob(dir + "/room*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
