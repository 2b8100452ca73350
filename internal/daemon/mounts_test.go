package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

func TestMountIsServed(t *testing.T) {
	b := newRig(t)
	info := b.mount("mnt", "01")
	if info.Files != 3 || info.Cached != 0 || info.Commit != b.made.Commit() || info.Target != b.path("mnt") || !info.NoReadAhead || info.Patience != control.DefaultPatience {
		t.Errorf("%+v", info)
	}
	if sent := b.server.Counts().Bytes; sent != 0 {
		t.Errorf("%d bytes were sent for a mount", sent)
	}
	b.reads("mnt", image1)
	if _, err := os.Stat(filepath.Join(b.path("mnt"), image2)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was not asked for: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(b.path("mnt"), "participants.tsv")); err != nil || strings.Contains(string(got), "sub-02") {
		t.Errorf("the table: %q, %v", got, err)
	}
	s := b.status(filepath.Join(b.path("mnt"), image1))
	if len(s.Mounts) != 1 || s.Mounts[0].Cached != 1 || len(s.Datasets) != 1 || s.Clones[0].Dataset != b.server.GitURL(b.made) {
		t.Errorf("%+v", s)
	}
	if len(s.Paths) != 1 || s.Paths[0].State != control.Cached || s.Paths[0].Mount != b.path("mnt") {
		t.Errorf("%+v", s.Paths)
	}
	b.unmount("mnt")
	b.mount("new/deep/mnt", "01") // the way to it is made, and taken away with it
	b.reads("new/deep/mnt", image1)
	res, err := b.Unmount(t.Context(), control.UnmountRequest{Target: b.path("new/deep/mnt"), Clean: true})
	if err != nil || !res.Removed || res.Files != 1 {
		t.Errorf("%+v, %v", res, err)
	}
	for _, path := range []string{b.path("new"), string(b.dir)} {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is still there", path)
		}
	}
}

// Who gives up a mount by its id names the way to it as it was asked for.
func TestMountThroughALinkIsGivenUp(t *testing.T) {
	b := newRig(t)
	if err := os.Mkdir(b.path("real"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", b.path("link")); err != nil {
		t.Fatal(err)
	}
	req := b.mountRequest("link/mnt", "01")
	req.ID = "mine"
	there, gone := make(chan control.MountInfo, 1), make(chan error, 1)
	go func() {
		gone <- b.Hold(context.WithoutCancel(t.Context()), control.HoldRequest{MountRequest: req}, nil, func(info control.MountInfo) { there <- info })
	}()
	select {
	case info := <-there:
		if info.Target != b.path("real/mnt") {
			t.Errorf("it is at %s", info.Target)
		}
	case err := <-gone:
		t.Fatal(err)
	}
	if _, err := b.Unmount(t.Context(), control.UnmountRequest{Target: b.path("link/mnt"), ID: "mine", Force: true}); err != nil {
		t.Error(err)
	}
	if err := <-gone; err != nil || len(b.status().Mounts) > 0 {
		t.Errorf("%v, mounted are %+v", err, b.status().Mounts)
	}
}

// What a mount tells of itself in its hidden directory.
func TestMountTellsOfItself(t *testing.T) {
	b := newRig(t)
	b.mount("mnt", "01")
	read := func(name string) []byte {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(b.path("mnt"), ".uniharmonyfs", name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	var info control.MountInfo
	if err := json.Unmarshal(read("status"), &info); err != nil || info.Files != 3 {
		t.Errorf("status: %+v, %v", info, err)
	}
	if said := string(read("dataset")); !strings.Contains(said, b.made.Commit()) {
		t.Errorf("dataset: %s", said)
	}
	if said := string(read("selection")); !strings.Contains(said, `"01"`) {
		t.Errorf("selection: %s", said)
	}
	if said := string(read("synthesised")); said != "participants.tsv\n" {
		t.Errorf("synthesised: %q", said)
	}
	if said := read("errors"); len(said) != 0 {
		t.Errorf("errors: %s", said)
	}
	b.server.SetFault(publisher.Always(publisher.Status(404, 0)))
	if _, err := os.ReadFile(filepath.Join(b.path("mnt"), image1)); err == nil {
		t.Error("what is not there is read")
	}
	if said := string(read("errors")); !strings.Contains(said, image1) || !strings.Contains(said, "404") {
		t.Errorf("errors: %q", said)
	}
	if s := b.status(filepath.Join(b.path("mnt"), image1)); len(s.Paths) != 1 || len(s.Paths[0].Errors) == 0 {
		t.Errorf("%+v", s.Paths)
	}
	b.unmount("mnt")
}

func TestMountRefusesTargets(t *testing.T) {
	b := newRig(t)
	b.mount("taken")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(b.path("full/x"), 0o755))
	must(os.WriteFile(b.path("file"), nil, 0o644))
	must(os.Symlink("nowhere", b.path("dangling")))
	must(os.Symlink(b.path("taken"), b.path("link")))
	must(os.MkdirAll(filepath.Join(string(b.dir), "x"), 0o755))
	for name, tc := range map[string]struct{ target, says string }{
		"relative": {"mnt", "absolute"}, "taken": {b.path("taken"), "mounted already"}, "taken, by a link": {b.path("link"), "mounted already"},
		"full": {b.path("full"), "not empty"}, "a file": {b.path("file"), "not a directory"}, "dangling": {b.path("dangling"), "leads nowhere"},
		"in the cache": {filepath.Join(string(b.dir), "x"), "inside the cache"}, "above the cache": {filepath.Dir(string(b.dir)), "inside it"},
		"in a file": {b.path("file/x"), ""}, "another file system": {"/proc", ""},
	} {
		req := b.mountRequest("")
		req.Target = tc.target
		_, err := b.Mount(t.Context(), req, nil)
		refused(t, name, err, advice.CannotMount, tc.says)
	}
	own := b.mountRequest("mnt")
	own.Spec, own.Target = b.made.Dir, filepath.Join(b.made.Dir, "mnt")
	_, err := b.Mount(t.Context(), own, nil)
	refused(t, "in the dataset", err, advice.CannotMount, "overlaps the dataset")
	for _, left := range []string{own.Target, b.path("mnt")} {
		if _, err := os.Lstat(left); err == nil {
			t.Errorf("%s was made", left)
		}
	}
	// Of the way to a target, what was there before stays, also if it is empty.
	must(os.MkdirAll(b.path("none"), 0o755))
	none := b.mountRequest("none/at/all", "99")
	_, err = b.Mount(t.Context(), none, nil)
	refused(t, "no such subject", err, advice.NoMatch, "99")
	if left, err := os.ReadDir(b.path("none")); err != nil || len(left) > 0 {
		t.Errorf("left of its target: %v, %v", left, err)
	}
	inside := b.mountRequest("")
	inside.Target = filepath.Join(string(b.dir), "y", "z")
	_, err = b.Mount(t.Context(), inside, nil)
	refused(t, "in the cache, to be made", err, advice.CannotMount, "inside the cache")
	if _, err := os.Lstat(filepath.Dir(inside.Target)); err == nil {
		t.Error("something was made in the cache")
	}
	b.unmount("taken")
}

// A request for a mount that nobody waits for any more leaves none, whenever it
// is given up.
func TestMountThatIsGivenUp(t *testing.T) {
	b := newRig(t)
	began, open := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.server.SetGitFault(func(publisher.Request) publisher.Fault {
		once.Do(func() { close(began) })
		<-open
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	_, err := b.Mount(ctx, b.mountRequest("mnt"), nil)
	refused(t, "given up", err, advice.Interrupted, "interrupted")
	close(open)
	if s := b.status(); len(s.Mounts) != 0 {
		t.Errorf("%+v", s.Mounts)
	}
	if _, err := os.Lstat(b.path("mnt")); err == nil {
		t.Error("the target is still there")
	}
	// Given up before it comes.
	if _, err := b.Unmount(t.Context(), control.UnmountRequest{Target: b.path("mnt"), ID: "early"}); err != nil {
		t.Error(err)
	}
	b.mount("mnt")
	// Another mount at its target is not taken away.
	if _, err := b.Unmount(t.Context(), control.UnmountRequest{Target: b.path("mnt"), ID: "other", Force: true}); err != nil {
		t.Error(err)
	}
	b.reads("mnt", image1)
	b.unmount("mnt")
}

func TestUnmountOfABusyMount(t *testing.T) {
	b := newRig(t)
	b.mount("mnt")
	reader := exec.Command("sh", "-c", "exec 3<"+filepath.Join(b.path("mnt"), image1)+"; echo open; read go; cat <&3")
	ask, err1 := reader.StdinPipe()
	out, err2 := reader.StdoutPipe()
	if err := errors.Join(err1, err2, reader.Start()); err != nil {
		t.Fatal(err)
	}
	defer reader.Process.Kill()
	said := make([]byte, len("open\n"))
	if _, err := out.Read(said); err != nil {
		t.Fatal(err)
	}
	_, err := b.Unmount(t.Context(), control.UnmountRequest{Target: b.path("mnt")})
	refused(t, "busy", err, advice.CannotMount, "in use by sh")
	if s := b.status(); len(s.Mounts) != 1 || s.Mounts[0].OpenFiles != 1 {
		t.Errorf("%+v", s.Mounts)
	}
	waited := make(chan error, 1)
	go func() { waited <- b.Wait(t.Context(), b.path("mnt")) }()
	if _, err := b.Unmount(t.Context(), control.UnmountRequest{Target: b.path("mnt"), Force: true}); err != nil {
		t.Error(err)
	}
	// Who has the file open goes on reading it.
	ask.Write([]byte("go\n"))
	var got bytes.Buffer
	got.ReadFrom(out)
	if err := reader.Wait(); err != nil || got.Len() != 300_000 {
		t.Errorf("%d bytes, %v", got.Len(), err)
	}
	select {
	case err := <-waited:
		if err != nil {
			t.Errorf("who waits for the end: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("who waits for the end is not told")
	}
	_, err = b.Unmount(t.Context(), control.UnmountRequest{Target: b.path("mnt")})
	refused(t, "again", err, advice.CannotMount, "nothing of this cache")
}

// A dataset that is mounted is not removed; a mount that ends lets it go.
func TestCleanOfAMountedDataset(t *testing.T) {
	b := newRig(t)
	b.mount("mnt")
	_, err := b.Clean(t.Context(), control.CleanRequest{Names: []string{"ds"}})
	refused(t, "mounted", err, advice.Failed, b.path("mnt"))
	_, err = b.Clean(t.Context(), control.CleanRequest{All: true})
	refused(t, "all", err, advice.Failed, b.path("mnt"))
	_, err = b.Clean(t.Context(), control.CleanRequest{Names: []string{"other"}})
	refused(t, "unknown", err, advice.NoMatch, "other")
	b.unmount("mnt")
	res, err := b.Clean(t.Context(), control.CleanRequest{Names: []string{"ds"}})
	if err != nil || len(res.Datasets) != 1 || res.Removed {
		t.Errorf("%+v, %v", res, err)
	}
	b.mount("mnt")
	b.reads("mnt", image2)
	b.unmount("mnt")
	res, err = b.Clean(t.Context(), control.CleanRequest{All: true})
	if err != nil || !res.Removed || res.Files != 1 {
		t.Errorf("%+v, %v", res, err)
	}
	if _, err := os.Lstat(string(b.dir)); err == nil {
		t.Error("the cache is still there")
	}
}

// Unmounting with clean drops what the mount brought, and nothing of others.
func TestUnmountAndCleanBesideOthers(t *testing.T) {
	b := newRig(t)
	b.mount("one", "01")
	b.mount("two", "02")
	b.reads("one", image1)
	b.reads("two", image2)
	res, err := b.Unmount(t.Context(), control.UnmountRequest{Target: b.path("one"), Clean: true})
	if err != nil || res.Files != 1 || res.Removed {
		t.Errorf("%+v, %v", res, err)
	}
	if s := b.status(); s.Store.Objects != 1 {
		t.Errorf("%d objects", s.Store.Objects)
	}
	sent := b.server.Counts().Bytes
	b.reads("two", image2)
	if b.server.Counts().Bytes != sent {
		t.Error("the other one's file was fetched again")
	}
	b.unmount("two")
}

// A daemon that is told to end takes its mounts away, and the next one finds what
// it left; one that was killed is followed by one that clears up.
func TestEndsOfADaemon(t *testing.T) {
	b := newRig(t)
	for _, with := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		b.mount("mnt")
		b.reads("mnt", image1)
		b.end(with)
		if with == syscall.SIGTERM {
			if entries, err := os.ReadDir(b.path("mnt")); err != nil || len(entries) != 0 {
				t.Errorf("after %v the target holds %v, %v", with, entries, err)
			}
		}
		sent := b.server.Counts().Bytes
		b.connect()
		if with == syscall.SIGKILL {
			// The stale mount was taken away, and may be unmounted once more.
			if entries, err := os.ReadDir(b.path("mnt")); err != nil || len(entries) != 0 {
				t.Errorf("after %v the target holds %v, %v", with, entries, err)
			}
			b.unmount("mnt")
			_, err := b.Unmount(t.Context(), control.UnmountRequest{Target: b.path("mnt")})
			refused(t, "twice", err, advice.CannotMount, "nothing of this cache")
		}
		b.mount("mnt")
		b.reads("mnt", image1)
		if b.server.Counts().Bytes != sent {
			t.Errorf("after %v what was here was fetched again", with)
		}
		b.unmount("mnt")
	}
}
