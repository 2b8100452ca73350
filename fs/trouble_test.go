package fs_test

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOddNames(t *testing.T) {
	s := start(t, config{Fixture: "odd"})
	for name, size := range fixtures["odd"] {
		got, err := os.ReadFile(s.path("") + "/" + name)
		if err != nil || !bytes.Equal(got, content(name, size)) {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil || len(entries) != len(fixtures["odd"]) {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	for _, e := range entries {
		if _, ok := s.view.Lookup(0, e.Name()); !ok {
			t.Errorf("%q is listed", e.Name())
		}
	}
}

// Each failure has its number, says why in the log, and harms nobody else.
func TestErrors(t *testing.T) {
	s := start(t, config{Fixture: "trouble"})
	for name, c := range map[string]struct {
		want error
		log  string
	}{
		"broken.nii":    {unix.EIO, "hash mismatch"},
		"full.nii":      {unix.ENOSPC, "no space left"},
		"gone.nii":      {unix.EIO, "file does not exist"}, // the commit has it: not ENOENT
		"own.nii":       {unix.ETIMEDOUT, "only the daemon knows"},
		"noopen.nii":    {unix.EIO, "no source has it"},
		"short.nii":     {unix.EIO, "50000 bytes early"},
		"panic.nii":     {unix.EIO, "panic while serving"},
		"panicopen.nii": {unix.EIO, "panic while serving"},
		"late.nii":      {unix.EIO, "timed out"},
	} {
		got, err := os.ReadFile(s.path(name))
		if !errors.Is(err, c.want) || len(got) > 0 && name != "short.nii" {
			t.Errorf("%s: %d bytes, %v; want %v", name, len(got), err, c.want)
		}
		if good, err := os.ReadFile(s.path("good.nii")); err != nil || !bytes.Equal(good, content("good.nii", 300_000)) {
			t.Errorf("after %s, good.nii: %d bytes, %v", name, len(good), err)
		}
	}
	// Nobody was signalled: most programs would read again, without end.
	fd, err := unix.Open(s.path("left.nii"), unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Read(fd, make([]byte, 10)); err != unix.EIO {
		t.Errorf("left.nii: %d bytes, %v", n, err)
	}
	unix.Close(fd)
	// The file is as long as before, and what there is of it can be read.
	f, err := os.Open(s.path("short.nii"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Size() != 100_000 {
		t.Errorf("short.nii: %v, %v", st, err)
	}
	head := make([]byte, 10_000)
	if _, err := io.ReadFull(f, head); err != nil || !bytes.Equal(head, content("short.nii", 100_000)[:10_000]) {
		t.Errorf("the head of short.nii: %v", err)
	}
	f.Close()
	s.until("open", "0")
	s.stopLogged(t, "hash mismatch", "no space left", "only the daemon knows", "no source has it", "bytes early", "panic while serving", "path=broken.nii")
}

// stopLogged stops the server and looks for these in its log.
func (s *server) stopLogged(t *testing.T, want ...string) {
	t.Helper()
	s.want("unmount", "ok")
	s.want("wait", "ok")
	for _, w := range want {
		eventually(t, "the log to say "+w, func() bool { return strings.Contains(s.log.String(), w) })
	}
}

// A reader that waits for content can be killed at once, whether or not the
// content cares, and others go on meanwhile.
func TestKilledReader(t *testing.T) {
	s := start(t, config{Fixture: "trouble"})
	for _, name := range []string{"sub/stuck.nii", "sub/deaf.nii"} {
		cat := exec.Command("cat", s.path(name))
		if err := cat.Start(); err != nil {
			t.Fatal(err)
		}
		s.until("waiting", "1")
		lookAround(t, s)
		cat.Process.Kill()
		ended := make(chan struct{})
		go func() { cat.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Fatalf("the reader of %s cannot be killed", name)
		}
		lookAround(t, s)
		s.want("pass", "ok") // a read-ahead waits on: a signal cannot interrupt it
	}
}

func lookAround(t *testing.T, s *server) {
	t.Helper()
	if _, err := os.ReadDir(s.path("sub")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.path("sub/stuck-1.nii")); err != nil {
		t.Error(err)
	}
	f, err := os.Open(s.path("sub/stuck-2.nii")) // does not wait
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if got, err := os.ReadFile(s.path("good.nii")); err != nil || len(got) != 300_000 {
		t.Errorf("good.nii: %d bytes, %v", len(got), err)
	}
}

// For many readers something is read ahead that has to be waited for, more
// than the kernel lets wait by default; a file that is there is read past them.
func TestManyWaitingReaders(t *testing.T) {
	t.Parallel()
	s := start(t, config{Fixture: "many-stuck"})
	type result struct {
		name string
		data []byte
		err  error
	}
	want := content("later", laterSize)
	results := make(chan result)
	for i := range laterFiles {
		name := fmt.Sprintf("later-%d", i)
		go func() {
			f, err := os.Open(s.path(name))
			if err != nil {
				results <- result{name, nil, err}
				return
			}
			defer f.Close()
			data, err := io.ReadAll(f)
			results <- result{name, data, err}
		}()
	}
	eventually(t, "all to wait", func() bool {
		n, err := strconv.Atoi(s.ask("waiting"))
		return err == nil && n >= laterFiles
	})
	read := make(chan error)
	go func() {
		_, err := os.ReadFile(s.path("good.nii"))
		read <- err
	}()
	select {
	case err := <-read:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("a file that is there waits for those that are not")
		defer func() { <-read }()
	}
	s.want("release", "ok")
	for range laterFiles {
		r := <-results
		if r.err != nil || !bytes.Equal(r.data, want) {
			t.Errorf("%s: %d bytes, %v", r.name, len(r.data), r.err)
		}
	}
}

// Signals that do not kill, as the Go runtime sends them all the time, do not
// turn into errors.
func TestSignalStorm(t *testing.T) {
	s := start(t, config{Fixture: "trouble"})
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is missing")
	}
	const program = `import signal, sys, hashlib, mmap
signal.signal(signal.SIGALRM, lambda *a: None)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
for i in range(100):
    with open(sys.argv[1], 'rb', buffering=0) as f:
        data = b''
        while chunk := f.read(30000): data += chunk
        m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        assert m[:] == data
signal.setitimer(signal.ITIMER_REAL, 0)
print(hashlib.md5(data).hexdigest())`
	out, err := exec.Command(python, "-c", program, s.path("good.nii")).CombinedOutput()
	want := fmt.Sprintf("%x\n", md5.Sum(content("good.nii", 300_000)))
	if err != nil || string(out) != want {
		t.Errorf("%v: %s; want %s", err, out, want)
	}
}
