package fs_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	uhfs "github.com/uniharmony/uniharmonyfs/fs"
)

func TestUnmountBusy(t *testing.T) {
	s := start(t, config{Fixture: "plain"})
	f, err := os.Open(s.path("README"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := s.ask("unmount"); !strings.HasPrefix(got, "EBUSY: ") || !strings.Contains(got, "busy") {
		t.Errorf("unmount with an open file: %q", got)
	}
	if got, err := io.ReadAll(f); err != nil || len(got) != 77 {
		t.Errorf("after that: %d bytes, %v", len(got), err)
	}
	s.want("open", "1")
	f.Close()
	s.want("unmount", "ok")
	s.want("wait", "ok")
	s.want("unmount", "ok") // again
	if entries, err := os.ReadDir(s.dir); err != nil || len(entries) != 0 {
		t.Errorf("the target has %d entries, %v", len(entries), err)
	}
}

func TestDetach(t *testing.T) {
	s := start(t, config{Fixture: "plain"})
	f, err := os.Open(s.path("sub-02/anat/sub-02_T1w.nii.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s.want("detach", "ok")
	if entries, err := os.ReadDir(s.dir); err != nil || len(entries) != 0 {
		t.Errorf("the target has %d entries, %v", len(entries), err)
	}
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, content("sub-02/anat/sub-02_T1w.nii.gz", 5<<20+123)) {
		t.Errorf("what was open: %d bytes, %v", len(got), err)
	}
	f.Close()
	s.want("wait", "ok")
	s.want("open", "0")
}

// Readers that wait when the connection is cut get an error, and the server
// comes to its end.
func TestCutConnection(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may cut a connection")
	}
	s := start(t, config{Fixture: "trouble"})
	failed := make(chan error)
	go func() {
		_, err := os.ReadFile(s.path("sub/stuck.nii"))
		failed <- err
	}()
	s.until("waiting", "1")
	if err := unix.Unmount(s.dir, unix.MNT_FORCE); !errors.Is(err, unix.EBUSY) {
		t.Fatalf("umount -f: %v", err)
	}
	if err := <-failed; err == nil {
		t.Error("a read on a cut connection succeeded")
	}
	s.want("wait", "ok")
	s.want("waiting", "0")
	s.want("open", "0")
	if m := find(t, s.cfg.FsName); len(m) != 1 || !m[0].Dead() {
		t.Errorf("the dead mount is listed as %+v", m)
	}
	s.want("unmount", "ok")
	if m := find(t, s.cfg.FsName); len(m) != 0 {
		t.Errorf("still listed: %+v", m)
	}
}

// What is mounted over ours, or in its place, is left alone.
func TestMountedOver(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may mount a tmpfs")
	}
	s := start(t, config{Fixture: "trouble"})
	if err := unix.Mount("over", s.dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("a tmpfs cannot be mounted:", err)
	}
	if got := s.ask("unmount"); !strings.HasPrefix(got, "EBUSY: ") {
		t.Errorf("unmount below another: %q", got)
	}
	if err := uhfs.DetachStale(s.dir); !errors.Is(err, uhfs.ErrNotMounted) {
		t.Errorf("DetachStale of a tmpfs: %v", err)
	}
	if err := unix.Unmount(s.dir, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Unmount(s.dir, 0); err != nil { // behind the server's back
		t.Fatal(err)
	}
	s.want("wait", "ok")
	if err := unix.Mount("instead", s.dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	s.want("unmount", "ok")
	if err := unix.Unmount(s.dir, 0); err != nil {
		t.Errorf("the tmpfs is gone: %v", err)
	}
}
