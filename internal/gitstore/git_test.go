package gitstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// children returns the processes of a store.
func children(s *Store) (pids []int) {
	g := s.backend.(*git)
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.busy {
		pids = append(pids, c.cmd.Process.Pid)
	}
	for _, l := range g.idle {
		for _, c := range l {
			pids = append(pids, c.cmd.Process.Pid)
		}
	}
	return pids
}

func killChildren(t *testing.T, s *Store) {
	t.Helper()
	pids := children(s)
	if len(pids) == 0 {
		t.Error("there is no child to kill")
	}
	for _, pid := range pids {
		// One killed before may not have been missed yet.
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			t.Error(err)
		}
	}
}

// TestChildDies kills git in the middle of an answer, and while it waits: the
// caller does not notice.
func TestChildDies(t *testing.T) {
	dir := newRepository(t)
	ids := allObjects(t, dir)
	for len(ids) < 5000 {
		ids = append(ids, ids...)
	}
	s := open(t, dir, Options{Git: gitProgram(t)})
	ctx := context.Background()
	for range 2 {
		n := 0
		err := s.ReadAll(ctx, ids, func(i int, kind string, data []byte) error {
			if i != n || hashObject(kind, data) != ids[i] {
				t.Errorf("object %d in place of %d", i, n)
			}
			if n++; n%1000 == 10 {
				killChildren(t, s)
			}
			return nil
		})
		if err != nil || n != len(ids) {
			t.Errorf("%d of %d: %v", n, len(ids), err)
		}
		if err := s.Sizes(ctx, ids, func(i int, _ int64) error {
			if i == 100 {
				killChildren(t, s)
			}
			return nil
		}); err != nil {
			t.Errorf("sizes: %v", err)
		}
		killChildren(t, s) // idle ones, for the next round
	}
	checkObjects(t, s, dir, ids[:10])
}

// killingWriter kills git once, after the first bytes.
type killingWriter struct {
	bytes.Buffer
	kill func()
}

func (w *killingWriter) Write(p []byte) (int, error) {
	if w.kill != nil && w.Len() > 0 {
		w.kill()
		w.kill = nil
	}
	return w.Buffer.Write(p)
}

func TestChildDiesWhileCopying(t *testing.T) {
	dir := newRepository(t)
	content := bytes.Repeat([]byte("0123456789abcde\n"), 1<<18)
	id := OID(gitIn(t, dir, string(content), "hash-object", "-w", "--stdin"))
	s := open(t, dir, Options{Git: gitProgram(t)})
	w := &killingWriter{kill: func() { killChildren(t, s) }}
	if n, err := s.Copy(context.Background(), id, w); err != nil || n != int64(len(content)) || !bytes.Equal(w.Bytes(), content) {
		t.Errorf("%d of %d bytes, %v", n, len(content), err)
	}
	if w.kill != nil {
		t.Error("nothing was killed")
	}
}

// TestChildKeepsDying uses programs that are not git: an error, and soon.
func TestChildKeepsDying(t *testing.T) {
	dir := newRepository(t)
	id := OID(gitRun(t, dir, "rev-parse", "main"))
	script := filepath.Join(t.TempDir(), "git")
	for name, body := range map[string]string{
		"exits":       "exit 3",
		"says why":    "echo 'fatal: no more' >&2; exit 128",
		"kills":       "kill -9 $$",
		"talks":       "echo hello; echo world",
		"long line":   "exec head -c 200000 /dev/zero",
		"cut short":   "echo " + string(id) + " blob 100; echo abc",
		"bad size":    "echo " + string(id) + " blob -3; exec cat",
		"other":       "echo " + strings.Repeat("1", 40) + " blob 0; echo; exec cat",
		"wrong bytes": "echo " + string(id) + " blob 3; echo abc; exec cat",
	} {
		if err := os.WriteFile(script, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, Options{Git: script})
		_, _, err := s.Read(context.Background(), id)
		if err == nil || errors.Is(err, ErrMissing) {
			t.Errorf("%s: %v", name, err)
		}
		if name == "says why" && !strings.Contains(fmt.Sprint(err), "no more") {
			t.Errorf("the reason is lost: %v", err)
		}
		if _, err := s.Resolve(context.Background(), "main"); err == nil {
			t.Errorf("%s: resolved", name)
		}
	}
	s := open(t, dir, Options{Git: filepath.Join(dir, "none")})
	if _, _, err := s.Read(context.Background(), id); err == nil || broken(err) {
		t.Errorf("no program: %v", err)
	}
	if _, err := s.Resolve(context.Background(), "main"); err == nil || broken(err) {
		t.Errorf("no program: %v", err)
	}
}

// TestNoChildIsLeft looks for the processes after Close and after a child had
// nothing to do.
func TestNoChildIsLeft(t *testing.T) {
	dir := newRepository(t)
	s := open(t, dir, Options{Git: gitProgram(t)})
	read := func() {
		if _, err := s.ReadPath(context.Background(), "main", "README"); err != nil {
			t.Fatal(err)
		}
	}
	gone := func(pids []int) {
		t.Helper()
		for _, pid := range pids {
			if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
				t.Errorf("process %d: %v", pid, err)
			}
		}
	}
	read()
	pids := children(s)
	if len(pids) != 1 {
		t.Errorf("%d children for one caller", len(pids))
	}
	g := s.backend.(*git)
	g.retire(g.idle[false][0], false)
	gone(pids)
	read()
	pids = children(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	gone(pids)
}

// TestManyCallers has more callers than there may be children.
func TestManyCallers(t *testing.T) {
	dir := newRepository(t)
	id := OID(gitRun(t, dir, "rev-parse", "main:README"))
	s := open(t, dir, Options{Git: gitProgram(t)})
	hold, ready := make(chan bool), make(chan bool, 3*maxChildren)
	done := make(chan error)
	for range 3 * maxChildren {
		go func() {
			done <- s.ReadAll(context.Background(), []OID{id}, func(int, string, []byte) error {
				ready <- true
				<-hold
				return nil
			})
		}()
	}
	for range maxChildren {
		<-ready
	}
	if n := len(children(s)); n != maxChildren {
		t.Errorf("%d children, at most %d are allowed", n, maxChildren)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := s.Read(ctx, id); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting for a child: %v", err)
	}
	close(hold)
	for range 3 * maxChildren {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := len(children(s)); n > maxIdle {
		t.Errorf("%d children wait for work", n)
	}
}
