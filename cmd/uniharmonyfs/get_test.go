package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// sameTree compares a download with the dataset, and with nothing else there.
func sameTree(t *testing.T, dir string, want map[string][]byte) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		content, ok := want[name]
		if !ok {
			t.Errorf("%s should not be there", name)
			return nil
		}
		seen++
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, want %d; %v", name, len(got), len(content), err)
		}
		if !e.Type().IsRegular() {
			t.Errorf("%s is no regular file", name)
		}
		return nil
	})
	if err != nil || seen != len(want) {
		t.Errorf("%d of %d files; %v", seen, len(want), err)
	}
}

func TestGetInterruptedOftenEndsTheSame(t *testing.T) {
	u := newUser(t)
	server, m := serve(t, u, files("broken", 2000, 15_000))
	want := contents(t, m)
	server.SetLink(publisher.Link{RTT: 5 * time.Millisecond, Rate: 4 << 20})
	target := u.path("target")
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range 20 {
		cmd := u.command(context.Background(), "get", "--json", "--dataset", m.Dir, target)
		events, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if plan, err := bufio.NewReader(events).ReadString('\n'); err != nil {
			t.Fatalf("no plan: %q, %v", plan, err)
		}
		// In the middle: after some more bytes, always fewer than are missing.
		some := server.Counts().Bytes + int64(rng.IntN(1_200_000))
		for deadline := time.Now().Add(time.Minute); server.Counts().Bytes <= some; {
			if time.Now().After(deadline) {
				t.Fatal("the download stands still")
			}
			time.Sleep(time.Millisecond)
		}
		switch i % 3 {
		case 0:
			pid := u.daemon()
			if pid == 0 {
				t.Fatal("there is no daemon")
			}
			syscall.Kill(pid, syscall.SIGKILL)
		case 1:
			cmd.Process.Kill()
		default:
			cmd.Process.Signal(os.Interrupt)
		}
		if cmd.Wait() == nil {
			t.Errorf("download %d was not interrupted", i)
		}
	}
	server.SetLink(publisher.Link{})
	u.must("get", "--dataset", m.Dir, target)
	sameTree(t, target, want)
	var total int64
	for _, f := range m.Files {
		if f.Annexed {
			total += f.Content.Size()
		}
	}
	sent := server.Counts().Bytes
	t.Logf("%d bytes of content, %d sent", total, sent)
	// What is on its way at an interrupt may come again, nothing else: for
	// each of 8 transfers, a block of what the server had already sent.
	if most := total + 20*8*64<<10; sent > most {
		t.Errorf("%d bytes sent for %d of content", sent, total)
	}
}

func TestGetKeepsWhatIsThere(t *testing.T) {
	u := newUser(t)
	server, m := serve(t, u, demo.Dataset())
	target := u.path("target")
	u.must("get", "--dataset", m.Dir, "--sub", "01", "--modality", "anat", target)
	before := server.Counts().Requests
	u.must("get", "--dataset", m.Dir, "--sub", "01", "--modality", "anat", target)
	if n := server.Counts().Requests - before; n != 0 {
		t.Errorf("the second download asked %d times", n)
	}
	readme := filepath.Join(target, "README")
	if err := os.WriteFile(readme, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	u.fails(7, []string{"README", "--force"}, "get", "--dataset", m.Dir, "--sub", "01", "--modality", "anat", target)
	if got, _ := os.ReadFile(readme); string(got) != "mine" {
		t.Error("a file that differs was overwritten")
	}
	u.must("get", "--force", "--dataset", m.Dir, "--sub", "01", "--modality", "anat", target)
	if got, _ := os.ReadFile(readme); string(got) == "mine" {
		t.Error("--force did not overwrite")
	}
}

func TestGetTmpCleanLeavesTheCacheEmpty(t *testing.T) {
	u := newUser(t)
	_, m := serve(t, u, demo.Dataset())
	u.must("get", "--plain", "--tmp-clean", "--dataset", m.Dir, "--sub", "01", "--suffix", "T1w", u.path("target"))
	if s := u.status(); s.Store.Objects != 0 || s.Store.Used != 0 {
		t.Errorf("left in the cache: %+v", s.Store)
	}
	image := "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"
	want, _ := maker.Bytes(m.Find(image).Content)
	if got, err := os.ReadFile(filepath.Join(u.path("target"), image)); err != nil || !bytes.Equal(got, want) {
		t.Error("wrong content", err)
	}
	if _, err := os.Stat(filepath.Join(u.path("target"), "README")); err == nil {
		t.Error("--plain brought the README")
	}
}

func TestGetListsWhatFailed(t *testing.T) {
	u := newUser(t)
	server, m := serve(t, u, demo.Dataset())
	bad := "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"
	server.SetFault(func(r publisher.Request) publisher.Fault {
		if strings.Contains(r.Path, "sub-01_ses-01_T1w") {
			return publisher.Status(404, 0)
		}
		return nil
	})
	u.fails(7, []string{bad, "404"}, "get", "--fetcher", "native", "--dataset", m.Dir, "--sub", "01", u.path("target"))
	want := contents(t, m)
	for path := range want {
		if strings.HasPrefix(path, "sub-01/") && path != bad {
			if got, err := os.ReadFile(filepath.Join(u.path("target"), path)); err != nil || len(got) == 0 {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(u.path("target"), bad)); err == nil {
		t.Error("a file that failed is there")
	}
}

func TestGetJSONEvents(t *testing.T) {
	u := newUser(t)
	_, m := serve(t, u, demo.Dataset())
	events := map[string]map[string]any{}
	for line := range strings.Lines(u.must("get", "--json", "--dataset", m.Dir, "--sub", "02", u.path("target"))) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		events[e["event"].(string)] = e
	}
	plan, done := events["plan"], events["done"]
	if plan == nil || done == nil || plan["files"] != done["files"] || plan["fetch_bytes"] != done["fetched_bytes"] || done["failed"] != 0.0 {
		t.Errorf("plan %v, done %v", plan, done)
	}
}

func TestGetRefusesWhatDoesNotFit(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can mount a small disk")
	}
	u := newUser(t)
	_, m := serve(t, u, files("large", 4, 1<<20))
	small := u.path("small")
	os.Mkdir(small, 0o755)
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("skipped: cannot mount a tmpfs: ", err)
	}
	defer syscall.Unmount(small, syscall.MNT_DETACH)
	u.fails(5, []string{"do not fit"}, "get", "--dataset", m.Dir, filepath.Join(small, "target"))
}

func TestGetDirectIsADataLadDataset(t *testing.T) {
	for _, dir := range annexes() {
		t.Run(dir, func(t *testing.T) {
			u := newUser(t)
			u.env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.org", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.org"}
			_, m := serve(t, u, demo.Dataset())
			target := u.path("target")
			for range 2 {
				u.must("get", "--direct", "--dataset", m.Dir, "--sub", "01", "--modality", "anat,func", target)
			}
			in := func(name string, args ...string) string {
				cmd := exec.Command(name, args...)
				cmd.Dir = target
				cmd.Env = append(append(os.Environ(), u.env...), "HOME="+u.dir)
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Errorf("%s %v: %v\n%s", name, args, err, tail(out, 1500))
				}
				return string(out)
			}
			if out := in("git", "status", "--porcelain"); out != "" {
				t.Errorf("git status:\n%s", out)
			}
			here := len(strings.Fields(in("git", "annex", "find", "--in", "here", "--format=${key}\\n")))
			if here == 0 {
				t.Error("git-annex has nothing")
			}
			in("git", "annex", "fsck", "--quiet", "--in", "here")
			in("git", "-c", "annex.security.allowed-ip-addresses=127.0.0.1", "annex", "get", "sub-02/ses-01/anat")
			if s := u.status(); s.Store.Objects != 0 {
				t.Errorf("%d objects are in the cache, too", s.Store.Objects)
			}
			useDataLad(t, in, target)
			u.must("get", "--direct", "--copy", "--dataset", m.Dir, "--sub", "01", "--modality", "anat", target)
			image := filepath.Join(target, "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz")
			if st, err := os.Lstat(image); err != nil || !st.Mode().IsRegular() {
				t.Errorf("--copy left %v, %v", st, err)
			}
		})
	}
}

// useDataLad goes on with a dataset as datalad's users do.
func useDataLad(t *testing.T, in func(name string, args ...string) string, target string) {
	t.Helper()
	datalad := filepath.Join(os.Getenv("UNIHARMONYFS_TEST_NEW_ANNEX"), "datalad")
	if _, err := os.Stat(datalad); err != nil {
		t.Log("without datalad: UNIHARMONYFS_TEST_NEW_ANNEX names no directory with it")
		return
	}
	if out := in(datalad, "status"); !strings.Contains(out, "nothing to save, working tree clean") {
		t.Errorf("datalad status:\n%s", out)
	}
	image := "sub-02/ses-02/anat/sub-02_ses-02_T1w.nii.gz"
	if _, err := os.Stat(filepath.Join(target, image)); err == nil {
		t.Errorf("%s is there before datalad got it", image)
	}
	allow := "annex.security.allowed-ip-addresses=127.0.0.1"
	if out := in(datalad, "-c", allow, "get", image); !strings.Contains(out, "get(ok): "+image) {
		t.Errorf("datalad get:\n%s", out)
	}
	if st, err := os.Stat(filepath.Join(target, image)); err != nil || st.Size() == 0 {
		t.Errorf("%s is not there: %v", image, err)
	}
	if out := in(datalad, "drop", "--what", "filecontent", "--reckless", "availability", image); !strings.Contains(out, "drop(ok)") {
		t.Errorf("datalad drop:\n%s", out)
	}
	if out := in(datalad, "status", "--annex", "basic"); !strings.Contains(out, "annex'd") {
		t.Errorf("datalad status --annex:\n%s", out)
	}
}

func TestVerifyRepairEvictPrefetch(t *testing.T) {
	u := newUser(t)
	_, m := serve(t, u, demo.Dataset())
	all := []string{"--dataset", m.Dir, "--sub", "01"}
	u.must(append([]string{"prefetch"}, all...)...)
	n := u.status().Store.Objects
	if n == 0 {
		t.Fatal("prefetch brought nothing")
	}
	var one string
	filepath.WalkDir(filepath.Join(u.cache, "objects"), func(p string, e fs.DirEntry, _ error) error {
		if e.Type().IsRegular() {
			one = p
		}
		return nil
	})
	content, _ := os.ReadFile(one)
	content[len(content)/2] ^= 1
	os.Chmod(one, 0o644)
	if err := os.WriteFile(one, content, 0o444); err != nil {
		t.Fatal(err)
	}
	u.fails(7, []string{"does not match"}, append([]string{"verify"}, all...)...)
	u.must(append([]string{"verify"}, all...)...)
	if got := u.status().Store.Objects; got != n-1 {
		t.Errorf("%d objects after verify, want %d", got, n-1)
	}
	u.must(append([]string{"prefetch"}, all...)...)
	u.must(append([]string{"evict"}, all...)...)
	if got := u.status().Store.Objects; got != 0 {
		t.Errorf("%d objects after evict", got)
	}
}
