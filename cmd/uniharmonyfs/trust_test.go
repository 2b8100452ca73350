package main_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// A reader in a mount waits out an outage and goes on where it stopped; who
// waits for what since when is told. UNIHARMONYFS_TEST_OUTAGE makes it longer.
func TestReadsInAMountWaitOutAnOutage(t *testing.T) {
	t.Parallel()
	lasting := 4 * time.Second
	if d, err := time.ParseDuration(os.Getenv("UNIHARMONYFS_TEST_OUTAGE")); err == nil {
		lasting = d
	}
	u := newUser(t)
	n, server, m := behind(t, u, files("outage", 3, 20_000_000))
	server.SetLink(publisher.Link{Rate: 20 << 20})
	u.must("mount", "--fetcher", "native", "--patience", "5m", "--dataset", m.Dir, u.path("mnt"))
	want := contents(t, m)
	name, other := "sub-00/anat/sub-00_run-002_T1w.nii.gz", "sub-00/anat/sub-00_run-001_T1w.nii.gz"
	type read struct {
		data []byte
		err  error
	}
	done := make(chan read, 1)
	go func() {
		data, err := os.ReadFile(filepath.Join(u.path("mnt"), name))
		done <- read{data, err}
	}()
	sent(t, server, 5<<20)
	n.down()
	gone := time.Now()
	for told := false; !told; {
		out := u.must("status")
		told = strings.Contains(out, "waits since") && strings.Contains(out, "no source can be reached") && strings.Contains(out, "at most until")
		if time.Since(gone) > time.Minute {
			t.Fatalf("nobody is told who waits:\n%s", out)
		}
	}
	time.Sleep(time.Until(gone.Add(lasting)))
	select {
	case r := <-done:
		t.Fatalf("the reader did not wait: %v", r.err)
	default:
	}
	n.up()
	r := <-done
	if r.err != nil || !bytes.Equal(r.data, want[name]) {
		t.Fatalf("%d bytes after the outage: %v", len(r.data), r.err)
	}
	if got, size := server.Counts().Bytes, int64(len(r.data)); got > size+8<<20 {
		t.Errorf("%d bytes were sent for a file of %d", got, size)
	}
	u.must("unmount", u.path("mnt"))
	// Without patience it fails at once.
	u.must("mount", "--fetcher", "native", "--patience", "0", "--dataset", m.Dir, u.path("mnt"))
	n.down()
	started := time.Now()
	if _, err := os.ReadFile(filepath.Join(u.path("mnt"), other)); err == nil || time.Since(started) > time.Minute {
		t.Errorf("without patience: %v after %v", err, time.Since(started))
	}
	n.up()
	u.fails(2, []string{"--patience"}, "mount", "--patience", "-1s", "--dataset", m.Dir, u.path("other"))
}

// What verify --repair mends, readers of a mount see mended: the kernel forgets
// the damaged pages that it kept. As an ordinary user, whose files all go through
// the kernel's page cache.
func TestRepairReachesTheReaders(t *testing.T) {
	u := newUser(t)
	server, m := serve(t, u, demo.Dataset())
	u.becomeOrdinary()
	u.must("mount", "--dataset", server.GitURL(m), "--sub", "01", u.path("mnt"))
	image := "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"
	want, err := maker.Bytes(m.Find(image).Content)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(u.path("mnt"), image)
	u.must("prefetch", file)
	// A program opens the file, and reads it after it was damaged on the disk.
	cmd := u.command(context.Background())
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `exec 3<"$0"; echo open; read _; cat <&3 | wc -c; read _`, file}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	lines := bufio.NewScanner(out)
	lines.Scan()
	damage(t, u.cache, m.Find(image).Key.FileName(), want)
	in.Write([]byte("\n"))
	lines.Scan() // the damaged bytes have been read, and are in the page cache
	said := u.must("verify", "--repair", file)
	if !strings.Contains(said, "damaged") || !strings.Contains(said, "fetched again") {
		t.Errorf("verify --repair does not say that it repaired:\n%s", said)
	}
	in.Write([]byte("\n"))
	in.Close()
	cmd.Wait()
	for range 2 {
		cat := u.command(context.Background())
		cat.Path, cat.Args = "/bin/cat", []string{"cat", file}
		if got, err := cat.Output(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("after the repair: %d bytes, right %v, %v", len(got), bytes.Equal(got, want), err)
		}
	}
}

// damage changes a byte of a key's object in the cache.
func damage(t *testing.T, cacheDir, key string, content []byte) {
	t.Helper()
	found := false
	err := filepath.WalkDir(filepath.Join(cacheDir, "objects"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() != key {
			return err
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		at := len(content) / 2
		_, err = f.WriteAt([]byte{content[at] ^ 1}, int64(at))
		found = true
		return errors.Join(err, f.Close())
	})
	if err != nil || !found {
		t.Fatalf("no object to damage: %v", err)
	}
}
