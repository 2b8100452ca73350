package main_test

import (
	"bufio"
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

func TestKilledDaemonLosesNothing(t *testing.T) {
	u := newUser(t)
	server, m := serve(t, u, files("killed", 100, 60_000))
	want := contents(t, m)
	server.SetLink(publisher.Link{RTT: 2 * time.Millisecond, Rate: 8 << 20})
	rng := rand.New(rand.NewPCG(3, 4))
	mnt := u.path("mnt")
	kills := 50
	if testing.Short() {
		kills = 10
	}
	for i := range kills {
		u.must("mount", "--dataset", m.Dir, mnt)
		pid := u.daemon()
		ctx, stop := context.WithCancel(context.Background())
		var g sync.WaitGroup
		for r := range 4 {
			order := rand.New(rand.NewPCG(uint64(i), uint64(r))).Perm(len(m.Files))
			g.Go(func() {
				for _, k := range order {
					f := m.Files[k]
					got, err := os.ReadFile(filepath.Join(mnt, f.Path))
					if err == nil && !bytes.Equal(got, want[f.Path]) {
						t.Errorf("round %d: %s: wrong bytes", i, f.Path)
					}
					if ctx.Err() != nil {
						return
					}
				}
			})
		}
		time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		stop()
		g.Wait()
	}
	server.SetLink(publisher.Link{})
	u.must("mount", "--dataset", m.Dir, mnt)
	readers(t, mnt, want, 8)()
	s := u.status()
	if s.Store.Objects != 100 || s.Store.Partials != 0 || s.Store.Reserved != 0 {
		t.Errorf("after reading all: %+v", s.Store)
	}
	if len(s.Mounts) != 1 {
		t.Errorf("%d mounts", len(s.Mounts))
	}
	u.must("unmount", "--clean", mnt)
	if _, err := os.Stat(u.cache); !os.IsNotExist(err) {
		t.Errorf("the cache is still there: %v", err)
	}
}

func TestUnmountAfterTheDaemonWasKilled(t *testing.T) {
	u := newUser(t)
	_, m := serve(t, u, files("stale", 5, 1000))
	u.must("mount", "--dataset", m.Dir, u.path("mnt"))
	readers(t, u.path("mnt"), contents(t, m), 1)()
	syscall.Kill(u.daemon(), syscall.SIGKILL)
	u.must("unmount", "--clean", u.path("mnt"))
	if _, err := os.Stat(u.cache); !os.IsNotExist(err) {
		t.Errorf("the cache is still there: %v", err)
	}
}

func TestTwoMountsShareOneCache(t *testing.T) {
	u := newUser(t)
	server, m := serve(t, u, demo.Dataset())
	u.must("mount", "--dataset", m.Dir, "--sub", "01", u.path("a"))
	u.must("mount", "--dataset", m.Dir, "--modality", "anat", u.path("b"))
	image := "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"
	want, err := maker.Bytes(m.Find(image).Content)
	if err != nil {
		t.Fatal(err)
	}
	for _, mnt := range []string{"a", "b", "a"} {
		if got, err := os.ReadFile(filepath.Join(u.path(mnt), image)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v", mnt, err)
		}
	}
	if n := server.ObjectCounts(m.URLs(m.Find(image))[0]).Requests; n != 1 {
		t.Errorf("%d requests", n)
	}
	u.must("pin", filepath.Join(u.path("b"), "sub-02/ses-01/anat"))
	u.must("unmount", "--clean", u.path("a"))
	if _, err := os.ReadFile(filepath.Join(u.path("b"), image)); err != nil {
		t.Errorf("the other mount is disturbed: %v", err)
	}
	u.must("unmount", "--clean", u.path("b"))
	s := u.status()
	if s.Store.Objects != 1 || s.Store.Pinned == 0 {
		t.Errorf("outside pins: %+v", s.Store)
	}
	u.must("clean", "--all")
	if s := u.status(); s.Store.Objects != 1 {
		t.Error("clean --all took a pinned file")
	}
	u.must("clean", "--all", "--pins")
	if _, err := os.Stat(u.cache); !os.IsNotExist(err) {
		t.Errorf("the cache is still there: %v", err)
	}
}

// becomeOrdinary makes the commands of u those of an ordinary user. Whoever is
// one already has run the other tests like that.
func (u *user) becomeOrdinary() {
	u.t.Helper()
	if os.Geteuid() != 0 {
		u.t.Skip("skipped: the other tests ran as an ordinary user")
	}
	if st, err := os.Stat("/dev/fuse"); err != nil || st.Mode().Perm()&0o006 != 0o006 {
		u.t.Skip("skipped: /dev/fuse is not open to ordinary users here")
	}
	const nobody = 65534
	u.uid = nobody
	if err := os.Chown(u.dir, nobody, nobody); err != nil {
		u.t.Fatal(err)
	}
}

// Who is not root mounts with fusermount3, and reads through the daemon.
func TestOrdinaryUser(t *testing.T) {
	u := newUser(t)
	server, m := serve(t, u, demo.Dataset())
	u.becomeOrdinary()
	u.must("mount", "--dataset", server.GitURL(m), "--sub", "01", u.path("mnt"))
	image := "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"
	want, err := maker.Bytes(m.Find(image).Content)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(filepath.Join(u.path("mnt"), image)); err == nil {
		t.Error("another user, be it root, reads the mount")
	}
	for range 2 {
		cmd := u.command(context.Background())
		cmd.Path, cmd.Args = "/bin/cat", []string{"cat", filepath.Join(u.path("mnt"), image)}
		if got, err := cmd.Output(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	if s := u.status(); s.Store.Objects == 0 || s.Mounts[0].Passthrough {
		t.Errorf("%+v", s)
	}
	u.must("get", "--dataset", server.GitURL(m), "--sub", "02", u.path("target"))
	u.must("unmount", "--clean", u.path("mnt"))
	if _, err := os.Stat(u.cache); !os.IsNotExist(err) {
		t.Errorf("the cache is still there: %v", err)
	}
}

// After an update of the program the mounts of before can be looked at and
// taken away, and what comes then is new.
func TestUpdateWithMounts(t *testing.T) {
	u := newUser(t)
	_, m := serve(t, u, demo.Dataset())
	updated := u.path("updated")
	if out, err := exec.Command("go", "build", "-ldflags", "-X main.version=9.9", "-o", updated, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	u.must("mount", "--dataset", m.Dir, u.path("mnt"))
	before := u.daemon()
	run := func(args ...string) (string, error) {
		cmd := u.command(context.Background(), args...)
		cmd.Path = updated
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("status"); err != nil || !strings.Contains(out, u.path("mnt")) {
		t.Errorf("status: %v\n%s", err, out)
	}
	if out, err := run("mount", "--dataset", m.Dir, u.path("other")); err == nil || !strings.Contains(out, "uniharmonyfs unmount") {
		t.Errorf("mount: %v\n%s", err, out)
	}
	if out, err := run("unmount", u.path("mnt")); err != nil {
		t.Errorf("unmount: %v\n%s", err, out)
	}
	if out, err := run("mount", "--dataset", m.Dir, u.path("other")); err != nil {
		t.Errorf("mount: %v\n%s", err, out)
	}
	if u.daemon() == before {
		t.Error("the old daemon is still there")
	}
	if out, err := run("unmount", "--clean", u.path("other")); err != nil {
		t.Errorf("unmount: %v\n%s", err, out)
	}
}

func TestForegroundEndsAtSIGTERM(t *testing.T) {
	u := newUser(t)
	_, m := serve(t, u, demo.Dataset())
	mnt := u.path("mnt")
	cmd := u.command(context.Background(), "mount", "--foreground", "--dataset", m.Dir, mnt)
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || !strings.HasPrefix(line, "Mounted ") {
		t.Errorf("it says %q, %v", line, err)
	}
	if _, err := os.ReadFile(filepath.Join(mnt, "README")); err != nil {
		t.Error(err)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("at SIGTERM: %v", err)
	}
	if _, err := os.Stat(filepath.Join(mnt, "README")); err == nil {
		t.Error("still mounted")
	}
}

func TestOffline(t *testing.T) {
	u := newUser(t)
	server, m := serve(t, u, demo.Dataset())
	u.fails(4, []string{"not known here", "--offline"}, "mount", "--offline", "--dataset", m.Dir, u.path("mnt"))
	u.must("mount", "--dataset", m.Dir, u.path("mnt"))
	image := "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"
	if _, err := os.ReadFile(filepath.Join(u.path("mnt"), image)); err != nil {
		t.Fatal(err)
	}
	u.must("unmount", u.path("mnt"))
	server.Close()
	u.must("mount", "--offline", "--dataset", m.Dir, u.path("mnt"))
	if _, err := os.ReadFile(filepath.Join(u.path("mnt"), image)); err != nil {
		t.Errorf("cached, but: %v", err)
	}
	other := filepath.Join(u.path("mnt"), "sub-02/ses-01/anat/sub-02_ses-01_T1w.nii.gz")
	if _, err := os.ReadFile(other); err == nil || !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("not cached, and offline: %v", err)
	}
	if out := u.must("status", other); !strings.Contains(out, "offline") {
		t.Errorf("status does not say why:\n%s", out)
	}
}
