package fs_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Files become complete and incomplete at random while eight threads open,
// read, map and close them: the bytes are always right, and no open is
// answered with EIO, which is the kernel's answer to mixed modes.
func TestPassthroughStress(t *testing.T) {
	t.Parallel()
	s := start(t, config{Fixture: "flip", Objects: t.TempDir()})
	if s.ask("passthrough") != "true" {
		t.Skip("no passthrough here: it needs root and Linux 6.9")
	}
	want := map[string][]byte{}
	for name, size := range fixtures["flip"] {
		want[name] = content(name, size)
	}
	const threads, opens = 8, 13_000
	var done atomic.Int32
	var wg sync.WaitGroup
	for i := range threads {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 2))
			for range opens {
				name := fmt.Sprintf("flip-%d", r.IntN(len(want)))
				if err := openAndRead(s.path(name), want[name], r); err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	if n := done.Load(); n < 100_000 && !t.Failed() {
		t.Errorf("only %d opens", n)
	}
	s.until("open", "0")
}

func openAndRead(name string, want []byte, r *rand.Rand) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if r.IntN(4) == 0 {
		g, err := os.Open(name)
		if err != nil {
			return err
		}
		defer g.Close()
	}
	if r.IntN(8) == 0 {
		mem, err := unix.Mmap(int(f.Fd()), 0, len(want), unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return fmt.Errorf("mmap: %w", err)
		}
		defer unix.Munmap(mem)
		if !bytes.Equal(mem, want) {
			return fmt.Errorf("wrong bytes in the map")
		}
		return nil
	}
	off := r.IntN(len(want))
	p := make([]byte, min(len(want)-off, 1+r.IntN(10_000)))
	if _, err := f.ReadAt(p, int64(off)); err != nil && err != io.EOF || !bytes.Equal(p, want[off:off+len(p)]) {
		return fmt.Errorf("%d bytes at %d: %v, or wrong bytes", len(p), off, err)
	}
	return nil
}

// fio wrote the file and checks each block it reads.
func TestFio(t *testing.T) {
	t.Parallel()
	fio, err := exec.LookPath("fio")
	if err != nil {
		t.Skip("fio is missing")
	}
	for _, objects := range []string{"", t.TempDir()} {
		s := start(t, config{Fixture: "fio", Objects: objects})
		for _, engine := range [][]string{{"--ioengine=psync"}, {"--ioengine=mmap", "--numjobs=2"}, {"--ioengine=psync", "--direct=1"}} {
			args := append([]string{"--name=v", "--filename=" + s.path("fio.bin"), "--readonly", "--rw=randread", "--bs=4k",
				"--verify=crc32c", "--verify_fatal=1", "--size=2m", "--allow_file_create=0"}, engine...)
			cmd := exec.Command(fio, args...)
			cmd.Dir = t.TempDir()
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "err= 0") {
				t.Errorf("%v: %v\n%s", engine, err, out)
			}
		}
	}
}

// fioData is a file that fio can verify.
func fioData(dir string) ([]byte, error) {
	file := filepath.Join(dir, "fio.bin")
	cmd := exec.Command("fio", "--name=w", "--filename="+file, "--rw=write", "--bs=4k", "--size=2m",
		"--verify=crc32c", "--do_verify=0", "--ioengine=psync")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return os.ReadFile(file)
}

// The main tests again as an ordinary user, who mounts through fusermount3.
func TestAsOrdinaryUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("this is an ordinary user")
	}
	if st, err := os.Stat("/dev/fuse"); err != nil || st.Mode().Perm()&0o006 != 0o006 {
		t.Skip("ordinary users may not use /dev/fuse here")
	}
	if _, err := exec.LookPath("fusermount3"); err != nil {
		t.Skip("fusermount3 is missing")
	}
	const nobody = 65534
	dir, err := os.MkdirTemp("", "user")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "fs.test"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "fs.test"), "-test.v", "-test.run",
		"TestPlain/cached|TestReadOnly|TestErrors|TestKilled|TestUnmountBusy|TestDetach|TestStale|TestBadTargets|TestOddNames|TestNotPermitted")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "TMPDIR=" + dir, "HOME=" + dir, "GORACE=atexit_sleep_ms=0"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestPlain/cached") || strings.Contains(string(out), "--- SKIP") {
		t.Errorf("%v:\n%s", err, out)
	}
}
