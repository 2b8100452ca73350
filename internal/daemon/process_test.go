package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset/datasettest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// The daemon runs in a process of its own, the test binary again: a process that
// looks into a mount it serves itself can wait for itself.

const daemonEnv = "UNIHARMONYFS_TEST_DAEMON"

func TestMain(m *testing.M) {
	if dir := os.Getenv(daemonEnv); dir != "" {
		os.Exit(runDaemon(cachedir.Dir(dir)))
	}
	os.Exit(m.Run())
}

func runDaemon(dir cachedir.Dir) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err := Run(ctx, dir, Options{Version: "test", Grace: time.Minute, Ready: func() { fmt.Println("ready") }, Log: os.Stderr})
	if control.IsLocked(err) {
		fmt.Println("locked")
	} else if err != nil {
		json.NewEncoder(os.Stdout).Encode(control.ToAdvice(err))
	}
	if err != nil {
		return 1
	}
	return 0
}

// rig is a daemon with a cache, and a published dataset.
type rig struct {
	*control.Client
	t      *testing.T
	dir    cachedir.Dir
	server *publisher.Server
	made   *maker.Made
	at     string // a directory for targets
}

const (
	image1 = "sub-01/anat/sub-01_T1w.nii.gz"
	image2 = "sub-02/anat/sub-02_T1w.nii.gz"
)

func rigDataset(name string) maker.Dataset {
	return maker.Dataset{Name: name, Tags: []string{"1.0"}, Files: []maker.File{
		{Path: "dataset_description.json", Data: []byte(`{"Name": "x", "BIDSVersion": "1.9.0"}`)},
		{Path: "participants.tsv", Data: []byte("participant_id\tage\nsub-01\t20\nsub-02\t30\n")},
		{Path: image1, Size: 300_000, Seed: 1, Annexed: true},
		{Path: image2, Size: 400_000, Seed: 2, Annexed: true},
	}}
}

func newRig(t *testing.T) *rig {
	t.Helper()
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		t.Skip("skipped: no FUSE on this machine: ", err)
	} else {
		f.Close()
	}
	b := &rig{t: t, dir: cachedir.Dir(filepath.Join(t.TempDir(), "cache")), at: t.TempDir()}
	b.server, b.made = datasettest.Publish(t, rigDataset("ds"))
	t.Cleanup(b.leave)
	b.connect()
	return b
}

// connect reaches the daemon, starting it when there is none.
func (b *rig) connect() {
	b.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	b.Client, err = control.Connect(b.t.Context(), b.dir, "test", nil, func() *exec.Cmd {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), daemonEnv+"="+string(b.dir))
		return cmd
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *rig) pid() int {
	raw, _ := os.ReadFile(filepath.Join(string(b.dir), "lock"))
	if pid, err := strconv.Atoi(strings.TrimSpace(string(raw))); err == nil {
		return pid
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := b.Client.Status(ctx, control.StatusRequest{})
	if err != nil {
		b.t.Fatal(err)
	}
	return s.PID
}

// end sends the daemon a signal and waits until it has let go of the cache.
func (b *rig) end(with syscall.Signal) {
	b.t.Helper()
	syscall.Kill(b.pid(), with)
	b.eventually("the daemon ends", func() bool { held, _ := b.dir.IsLocked(); return !held })
}

// leave leaves nothing behind.
func (b *rig) leave() {
	if held, _ := b.dir.IsLocked(); held {
		b.end(syscall.SIGTERM)
	}
	mounts, err := fs.ListMounts()
	if err != nil {
		b.t.Error(err)
	}
	for _, m := range mounts {
		if strings.HasPrefix(m.Target, b.at) {
			b.t.Errorf("a mount was left behind: %s, %v", m.Target, fs.DetachStale(m.Target))
		}
	}
	if b.t.Failed() {
		log, _ := os.ReadFile(b.dir.LogPath())
		b.t.Logf("daemon.log:\n%s", log)
	}
}

func (b *rig) eventually(what string, is func() bool) {
	b.t.Helper()
	for n := 0; !is(); n++ {
		if n == 6000 {
			b.t.Fatalf("not so: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (b *rig) path(name string) string { return filepath.Join(b.at, name) }

func (b *rig) dataset() control.Dataset { return datasettest.Request(b.server, b.made) }

// mountRequest asks for a mount of all, or of some subjects.
func (b *rig) mountRequest(name string, subjects ...string) control.MountRequest {
	req := control.MountRequest{Dataset: b.dataset(), Target: b.path(name), Umask: 0o022, NoReadAhead: true}
	if len(subjects) > 0 {
		req.Selection = bids.Selection{Entities: map[string][]string{"sub": subjects}}
	}
	return req
}

func (b *rig) mount(name string, subjects ...string) control.MountInfo {
	b.t.Helper()
	info, err := b.Mount(b.t.Context(), b.mountRequest(name, subjects...), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return info
}

func (b *rig) unmount(name string) {
	b.t.Helper()
	if _, err := b.Unmount(b.t.Context(), control.UnmountRequest{Target: b.path(name)}); err != nil {
		b.t.Fatal(err)
	}
}

// reads checks what a file of a mount holds.
func (b *rig) reads(name, path string) {
	b.t.Helper()
	want := datasettest.Content(b.t, b.made, path)
	if got, err := os.ReadFile(filepath.Join(b.path(name), path)); err != nil || string(got) != string(want) {
		b.t.Errorf("%s: %d bytes, %v", path, len(got), err)
	}
}

func (b *rig) status(paths ...string) control.Status {
	b.t.Helper()
	s, err := b.Status(b.t.Context(), control.StatusRequest{Paths: paths})
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// refused checks that an error is advice of a kind that says something.
func refused(t *testing.T, what string, err error, kind advice.Kind, says string) {
	t.Helper()
	told := new(advice.Error)
	if !errors.As(err, &told) || told.Kind != kind || !strings.Contains(told.Error(), says) {
		t.Errorf("%s: %#v, want %s that says %q", what, err, kind, says)
	}
}
