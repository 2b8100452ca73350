package fetch

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// history makes a dataset with two versions, and a server that has it.
func history(t testing.TB) (*publisher.Server, *maker.Made) {
	t.Helper()
	needGit(t)
	s, err := publisher.New(publisher.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	file := maker.File{Path: "sub-01/anat/sub-01_T1w.nii", Size: 1000, Seed: 1, Annexed: true}
	m, err := maker.Make(filepath.Join(t.TempDir(), "ds"), maker.Dataset{
		Name: "ds", Files: []maker.File{file, {Path: "README", Data: []byte("new")}}, Tags: []string{"2.0"},
		Earlier: []maker.Version{{Tag: "1.0", Files: []maker.File{{Path: "README", Data: []byte("old")}}}},
		Remotes: []maker.Remote{{Name: "s3", Kind: maker.Versioned, URL: s.URL + "/bucket"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Add(m)
	return s, m
}

func specOf(t testing.TB, dataset string) Spec {
	t.Helper()
	spec, err := ParseSpec(dataset, "")
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// hiddenOf returns a hidden clone that is closed in the end.
func hiddenOf(t testing.TB) *Hidden {
	t.Helper()
	h := NewHidden(filepath.Join(t.TempDir(), "datasets", "ds"))
	t.Cleanup(h.Close)
	return h
}

// readme returns the README of a clone's commit.
func readme(t testing.TB, c *Clone) string {
	t.Helper()
	store, err := gitstore.Open(c.Dir, gitstore.Options{Git: FindGit()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	data, err := store.ReadPathMax(t.Context(), string(c.Commit), "README", 100)
	if err != nil {
		t.Errorf("README of %s: %v", c.Commit, err)
	}
	return string(data)
}

// wantAdvice checks that an error says what to do, for a reason.
func wantAdvice(t testing.TB, err error, reason advice.Reason) {
	t.Helper()
	var known *advice.Error
	if !errors.As(err, &known) || known.Reason != reason || known.What == "" {
		t.Errorf("%v; want advice on %s", err, reason)
	}
}

// Wherever a dataset is, and whatever program gets it, each version is had.
func TestCloneOfEveryVersion(t *testing.T) {
	s, m := history(t)
	bundle := filepath.Join(t.TempDir(), "ds.bundle")
	run(t, m.GitDir, "git", "bundle", "create", "-q", bundle, "--all")
	for name, c := range map[string]struct{ dataset, git string }{
		"URL": {s.GitURL(m), FindGit()}, "URL without git": {s.GitURL(m), ""}, "path": {m.GitDir, FindGit()}, "bundle": {bundle, FindGit()},
	} {
		t.Run(name, func(t *testing.T) {
			h := hiddenOf(t)
			for version, commit := range map[string]string{"": m.Commits[1], "1.0": m.Commits[0], "2.0": m.Commits[1], "main": m.Commits[1], m.Commits[0]: m.Commits[0]} {
				if c.git == "" && version == m.Commits[0] {
					continue // that is not possible; see below
				}
				clone, err := h.Clone(t.Context(), specOf(t, c.dataset), version, CloneOptions{Git: c.git})
				if err != nil {
					t.Fatalf("version %q: %v", version, err)
				}
				if want := map[string]string{m.Commits[0]: "old", m.Commits[1]: "new"}[commit]; string(clone.Commit) != commit || readme(t, clone) != want {
					t.Errorf("version %q is %s with %q, want %s with %q", version, clone.Commit, readme(t, clone), commit, want)
				}
				// The branch is there when somebody has need of it.
				if err := clone.WaitBranch(t.Context()); err != nil {
					t.Errorf("version %q: %v", version, err)
				}
				if got := strings.TrimSpace(run(t, clone.Dir, "git", "rev-parse", annexRef)); got != m.Branch {
					t.Errorf("version %q: the git-annex branch is at %s, want %s", version, got, m.Branch)
				}
			}
			_, err := h.Clone(t.Context(), specOf(t, c.dataset), "3.0", CloneOptions{Git: c.git})
			wantAdvice(t, err, advice.UnknownVersion)
			if strings.TrimSpace(run(t, h.dir, "git", "rev-parse", "--is-bare-repository")) != "true" {
				t.Error("it has a work tree")
			}
		})
	}
}

// What is known needs no network, by whatever name, and what is not says so.
func TestKnownVersionsNeedNoNetwork(t *testing.T) {
	s, m := history(t)
	spec, h := specOf(t, s.GitURL(m)), hiddenOf(t)
	o := CloneOptions{Git: FindGit()}
	if _, err := h.Clone(t.Context(), spec, "", CloneOptions{Git: o.Git, Offline: true}); err == nil {
		t.Error("nothing is known, and it is had offline")
	} else {
		wantAdvice(t, err, advice.Offline)
	}
	if _, err := h.Clone(t.Context(), spec, "", o); err != nil {
		t.Fatal(err)
	}
	s.Close()
	again := NewHidden(h.dir) // as after a restart
	defer again.Close()
	for _, version := range []string{"", m.Commits[1], m.Commits[1][:8]} {
		for _, offline := range []bool{false, true} {
			o.Offline = offline
			if c, err := again.Clone(t.Context(), spec, version, o); err != nil || string(c.Commit) != m.Commits[1] {
				t.Errorf("version %q: %v", version, err)
			}
		}
	}
	o.Offline = false
	_, err := again.Clone(t.Context(), spec, "1.0", o)
	wantAdvice(t, err, advice.Network)
	if got := ClonedFrom(h.dir); got != spec.URL {
		t.Errorf("cloned from %q", got)
	}
}

// A commit is asked for by itself, without asking first what there is.
func TestCommitIsAskedForItself(t *testing.T) {
	s, m := history(t)
	spec, h := specOf(t, s.GitURL(m)), hiddenOf(t)
	var asked atomic.Int32
	s.SetGitFault(func(publisher.Request) publisher.Fault { asked.Add(1); return nil })
	for i, text := range []string{"old", "new"} {
		asked.Store(0)
		c, err := h.Clone(t.Context(), spec, m.Commits[i], CloneOptions{Git: FindGit()})
		if err != nil || readme(t, c) != text {
			t.Fatalf("%s: %v", text, err)
		}
		if n := asked.Load(); n > 2 {
			t.Errorf("%d requests", n)
		}
	}
	_, err := h.Clone(t.Context(), spec, strings.Repeat("1", 40), CloneOptions{Git: FindGit()})
	wantAdvice(t, err, advice.UnknownVersion)
}

// What is the newest is looked up again after a while, and stays what it was when nobody
// can say.
func TestNewestIsLookedUpAgain(t *testing.T) {
	s, m := history(t)
	spec, h := specOf(t, s.GitURL(m)), hiddenOf(t)
	want := func(age time.Duration, offline bool, text string) {
		t.Helper()
		c, err := h.Clone(t.Context(), spec, "", CloneOptions{Git: FindGit(), MaxAge: age, Offline: offline})
		if err != nil || readme(t, c) != text {
			t.Fatalf("not older than %v: %v", age, err)
		}
	}
	want(0, false, "new")
	if out, err := exec.Command(FindGit(), "-C", m.GitDir, "update-ref", "refs/heads/"+branch(t, m), m.Commits[0]).CombinedOutput(); err != nil {
		t.Fatalf("%s %v", out, err)
	}
	want(time.Hour, false, "new")
	want(time.Nanosecond, true, "new")
	want(time.Nanosecond, false, "old")
	want(0, false, "old")
	if c, err := h.Clone(t.Context(), spec, "2.0", CloneOptions{Git: FindGit()}); err != nil || readme(t, c) != "new" {
		t.Errorf("another version: %v", err)
	}
	s.Close()
	want(time.Nanosecond, false, "old")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Clone(ctx, spec, "", CloneOptions{Git: FindGit(), MaxAge: time.Nanosecond}); !errors.Is(err, context.Canceled) {
		t.Errorf("when nobody waits: %v", err)
	}
}

// branch is the main one of a dataset.
func branch(t testing.TB, m *maker.Made) string {
	t.Helper()
	out, err := exec.Command(FindGit(), "-C", m.GitDir, "symbolic-ref", "--short", "HEAD").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// A clone that fails leaves nothing, and one that was cut off is made anew.
func TestCloneIsWholeOrNotThere(t *testing.T) {
	s, m := history(t)
	h := hiddenOf(t)
	_, err := h.Clone(t.Context(), specOf(t, s.GitURL(m)+"x"), "", CloneOptions{Git: FindGit()})
	if err == nil {
		t.Fatal("a dataset that is not there is cloned")
	}
	if left, _ := os.ReadDir(filepath.Dir(h.dir)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = h.Clone(ctx, specOf(t, s.GitURL(m)), "", CloneOptions{Git: FindGit(), Progress: func(Progress) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(h.dir)); len(left) > 0 {
		t.Errorf("left behind when it was cancelled: %v", left)
	}
	// As the power cut left them: one without a manifest, one half made.
	for _, dir := range []string{h.dir, filepath.Join(filepath.Dir(h.dir), ".making-ds")} {
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "HEAD"), []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := h.Clone(t.Context(), specOf(t, s.GitURL(m)), "", CloneOptions{Git: FindGit()}); err != nil || readme(t, c) != "new" {
		t.Errorf("anew: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(h.dir)); len(left) != 1 {
		t.Errorf("beside the clone: %v", left)
	}
	// What a killed git left there is in nobody's way.
	leftovers := []string{"shallow.lock", annexRef + ".lock", "objects/pack/tmp_pack_x"}
	for _, name := range leftovers {
		p := filepath.Join(h.dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o700), os.WriteFile(p, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := h.Clone(t.Context(), specOf(t, s.GitURL(m)), "1.0", CloneOptions{Git: FindGit()})
	if err != nil || readme(t, c) != "old" {
		t.Fatalf("after a killed git: %v", err)
	}
	if err := c.WaitBranch(t.Context()); err != nil {
		t.Error(err)
	}
	for _, name := range leftovers {
		if _, err := os.Lstat(filepath.Join(h.dir, filepath.FromSlash(name))); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
	if err := os.WriteFile(filepath.Join(h.dir, manifestName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = h.Clone(t.Context(), specOf(t, s.GitURL(m)), "", CloneOptions{Git: FindGit()})
	wantAdvice(t, err, advice.Damaged)
}

// git-annex sees a repository that it need not initialise, whose objects are the
// cache's, and looks into no repository of the user's.
func TestCloneIsSetUpForGitAnnex(t *testing.T) {
	s, m := history(t)
	for _, dataset := range []string{s.GitURL(m), m.GitDir} {
		h := hiddenOf(t)
		objects := filepath.Join(filepath.Dir(filepath.Dir(h.dir)), "objects")
		c, err := h.Clone(t.Context(), specOf(t, dataset), "", CloneOptions{Git: FindGit(), Objects: objects})
		if err != nil {
			t.Fatal(err)
		}
		config := func(name string) string {
			out, _ := exec.Command("git", "-C", c.Dir, "config", name).Output()
			return strings.TrimSpace(string(out))
		}
		ignored := ""
		if dataset == m.GitDir {
			ignored = "true"
		}
		for name, want := range map[string]string{"annex.version": "10", "annex.private": "true", "remote.origin.url": dataset, "remote.origin.annex-ignore": ignored} {
			if got := config(name); got != want {
				t.Errorf("%s: %s is %q, want %q", dataset, name, got, want)
			}
		}
		if uuid := config("annex.uuid"); len(uuid) != 36 || uuid[14] != '4' || uuid == newUUID() {
			t.Errorf("annex.uuid is %q", uuid)
		}
		to, err := os.Readlink(filepath.Join(c.Dir, "annex", "objects"))
		if err != nil || filepath.IsAbs(to) || filepath.Join(c.Dir, "annex", to) != objects {
			t.Errorf("its objects are at %q, %v; want %s", to, err, objects)
		}
	}
}

// What go-git cannot do is told, with what can be done.
func TestWithoutGit(t *testing.T) {
	s, m := history(t)
	h := hiddenOf(t)
	_, err := h.Clone(t.Context(), specOf(t, m.GitDir), "", CloneOptions{})
	wantAdvice(t, err, advice.NoGit)
	_, err = h.Clone(t.Context(), specOf(t, s.GitURL(m)), m.Commits[0], CloneOptions{})
	wantAdvice(t, err, advice.NoGit)
	dead := specOf(t, s.GitURL(m))
	s.Close()
	_, err = h.Clone(t.Context(), dead, "", CloneOptions{})
	wantAdvice(t, err, advice.Network)
	if !IsUnreached(err) {
		t.Error("a server that is gone may not come back")
	}
}

// Requests at the same time make one clone, and each gets its version.
func TestClonesAtTheSameTime(t *testing.T) {
	s, m := history(t)
	spec, h := specOf(t, s.GitURL(m)), hiddenOf(t)
	var all sync.WaitGroup
	for n := range 8 {
		version, want := "1.0", m.Commits[0]
		if n%2 == 0 {
			version, want = "", m.Commits[1]
		}
		all.Go(func() {
			c, err := h.Clone(t.Context(), spec, version, CloneOptions{Git: FindGit()})
			if err != nil || string(c.Commit) != want {
				t.Errorf("version %q: %v", version, err)
				return
			}
			if err := c.WaitBranch(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if _, err := readManifest(h.dir); err != nil {
		t.Error(err)
	}
}

// The git-annex branch comes once for all that wait, a failure is nobody's for
// ever, and who waits can give up.
func TestBranchComesInTheBackground(t *testing.T) {
	s, m := history(t)
	spec, h := specOf(t, s.GitURL(m)), hiddenOf(t)
	c, err := h.Clone(t.Context(), spec, "", CloneOptions{Git: FindGit()})
	if err != nil {
		t.Fatal(err)
	}
	have := func() bool {
		return exec.Command("git", "-C", c.Dir, "rev-parse", "-q", "--verify", annexRef).Run() == nil
	}
	if have() {
		t.Error("it came with the clone")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.WaitBranch(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	for range 100 { // until what was begun has ended, so that the server is asked anew
		c.hidden.mu.Lock()
		busy := c.hidden.coming != nil
		c.hidden.mu.Unlock()
		if !busy {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := c.WaitBranch(t.Context()); err != nil || !have() {
		t.Fatalf("it is not there: %v", err)
	}
	if mf, err := readManifest(c.Dir); err != nil || len(mf.Behind) != 0 {
		t.Errorf("still behind: %v, %v", mf.Behind, err)
	}
	// Another one, whose server is gone when the branch is wanted.
	h = hiddenOf(t)
	if c, err = h.Clone(t.Context(), spec, "", CloneOptions{Git: FindGit()}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for range 2 {
		wantAdvice(t, c.WaitBranch(t.Context()), advice.Network)
	}
	c.StartBranch()
	h.Close() // waits for it
	if mf, err := readManifest(c.Dir); err != nil || len(mf.Behind) != 1 {
		t.Errorf("behind: %v, %v", mf.Behind, err)
	}
}
