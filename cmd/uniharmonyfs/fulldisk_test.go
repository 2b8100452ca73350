package main_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
)

// crowd fills a disk to its last byte.
func crowd(t *testing.T, disk string) {
	t.Helper()
	f, err := os.CreateTemp(disk, "filler-")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(page)
	}
}

// noCrash sees that no daemon of a log died.
func noCrash(t *testing.T, log []byte) {
	t.Helper()
	for _, word := range []string{"SIGBUS", "panic:", "fatal error", "unexpected fault"} {
		if i := bytes.Index(log, []byte(word)); i >= 0 {
			t.Errorf("the daemon died:\n%.600s", log[i:])
			return
		}
	}
}

// nothingLeft sees that a cache is gone from its disk.
func nothingLeft(t *testing.T, u *user) {
	t.Helper()
	left, _ := filepath.Glob(u.cache + "/*")
	if _, err := os.Lstat(u.cache); !os.IsNotExist(err) || len(left) > 0 {
		t.Errorf("of the cache there is left: %v %v", err, left)
	}
}

// A disk that somebody else filled to the last byte can be cleaned: whoever
// takes away needs no space for it. On the larger disk the index is a file, on
// the smaller one it is in memory.
func TestFullDiskIsCleaned(t *testing.T) {
	t.Parallel()
	for _, size := range []string{"64m", "300m"} {
		t.Run(size, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			disk := smallDisk(t, u, "size="+size)
			_, m := serve(t, u, demo.DemoDataset())
			mnt := u.path("mnt")
			u.must("mount", "--dataset", m.Dir, "--sub", "01", mnt)
			image := filepath.Join(mnt, "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz")
			u.must("pin", image)
			crowd(t, disk)
			before := u.daemon()
			u.must("status")
			want, err := demo.Bytes(m.Find(strings.TrimPrefix(image, mnt+"/")).Content)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(image); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the cached file: %d bytes of %d, %v", len(got), len(want), err)
			}
			u.must("unpin", image)
			u.must("evict", image)
			crowd(t, disk)
			u.must("status")
			if now := u.daemon(); now != before {
				t.Errorf("the daemon was %d and is %d", before, now)
			}
			log, err := os.Open(filepath.Join(u.cache, "daemon.log")) // outlives its name
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			u.must("unmount", "--clean", mnt)
			u.must("clean", "--all", "--pins")
			said, _ := io.ReadAll(log)
			noCrash(t, said)
			nothingLeft(t, u)
		})
	}
}

// A daemon that starts on a disk that is full already takes a cache away, pins
// and all, also when the one before was killed.
func TestDaemonStartsOnAFullDiskToClean(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"ended", "killed"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			disk := smallDisk(t, u, "size=300m")
			_, m := serve(t, u, demo.DemoDataset())
			mnt := u.path("mnt")
			u.must("mount", "--dataset", m.Dir, "--sub", "01", mnt)
			u.must("pin", filepath.Join(mnt, "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"))
			if how == "killed" {
				pid := u.daemon()
				syscall.Kill(pid, syscall.SIGKILL)
				eventually(t, "the daemon is gone", func() bool { return u.daemon() == 0 })
				crowd(t, disk)
			} else {
				crowd(t, disk)
				u.must("unmount", mnt)
				u.leaveDaemon()
			}
			log, err := os.Open(filepath.Join(u.cache, "daemon.log"))
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			u.must("status")
			u.must("clean", "--all", "--pins")
			said, _ := io.ReadAll(log)
			noCrash(t, said)
			nothingLeft(t, u)
		})
	}
}
