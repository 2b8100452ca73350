package main_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// dialRaw opens a connection to the user's daemon.
func (u *user) dialRaw() net.Conn {
	u.t.Helper()
	c, err := net.Dial("unix", filepath.Join(u.cache, "daemon.sock"))
	if err != nil {
		u.t.Fatal(err)
	}
	return c
}

// Whatever is sent to the socket, and by however many, the mounts are served and
// others are answered soon.
func TestNonsenseOnTheSocket(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	m := small(t, u, "spoken-to")
	u.must("mount", "--dataset", m.Dir, u.path("mnt"))
	pid := u.daemon()
	well := func(what string) {
		t.Helper()
		began := time.Now()
		u.must("status")
		if got, err := os.ReadFile(u.path("mnt/README")); err != nil || len(got) == 0 {
			t.Errorf("%s: README: %v", what, err)
		}
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("%s: status took %v", what, took)
		}
		if u.daemon() != pid {
			t.Fatalf("%s: the daemon has died", what)
		}
	}
	send := func(c net.Conn, parts ...string) {
		for _, p := range parts {
			io.WriteString(c, p)
		}
	}
	const head = "POST /v1/list HTTP/1.1\r\nHost: cache\r\n"
	for what, say := range map[string]func(c net.Conn){
		"garbage":            func(c net.Conn) { c.Write(bytes.Repeat([]byte{0xff, 0, '\n', 7}, 10_000)) },
		"a line without end": func(c net.Conn) { send(c, "GET /"); io.CopyN(c, zeros('a'), 1<<30) },
		"a header without end": func(c net.Conn) {
			send(c, head, "X: ")
			io.CopyN(c, zeros('a'), 1<<28)
		},
		"a body without end": func(c net.Conn) {
			send(c, head, "Transfer-Encoding: chunked\r\n\r\n")
			for range 1000 {
				if _, err := fmt.Fprintf(c, "100000\r\n%s\r\n", bytes.Repeat([]byte(" "), 1<<20)); err != nil {
					return
				}
			}
		},
		"half a request":    func(c net.Conn) { send(c, head, "Content-Length: 100\r\n\r\n{\"data") },
		"half a header":     func(c net.Conn) { send(c, "POST /v1/li") },
		"nothing":           func(net.Conn) {},
		"a negative length": func(c net.Conn) { send(c, head, "Content-Length: -1\r\n\r\n") },
		"another version":   func(c net.Conn) { send(c, "POST /v9/list HTTP/1.1\r\nHost: cache\r\nContent-Length: 2\r\n\r\n{}") },
		"another protocol":  func(c net.Conn) { send(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") },
	} {
		c := u.dialRaw()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		say(c)
		well(what)
		c.Close()
	}
	var idle []net.Conn
	for range 1000 {
		c, err := net.Dial("unix", filepath.Join(u.cache, "daemon.sock"))
		if err != nil {
			break // not even queued
		}
		send(c, "POST /v1/li")
		idle = append(idle, c)
	}
	if len(idle) < 500 {
		t.Errorf("only %d connections", len(idle))
	}
	well("a thousand connections")
	for _, c := range idle {
		c.Close()
	}
	if open := len(entries(t, fmt.Sprintf("/proc/%d/fd", pid))); open > 200 {
		t.Errorf("%d descriptors are open", open)
	}
}

type zeros byte

func (z zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(z)
	}
	return len(p), nil
}

// A body that comes in crumbs is not waited for, and what is sent after a
// request is not either.
func TestBodyInCrumbs(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	m := small(t, u, "crumbs")
	u.must("mount", "--dataset", m.Dir, u.path("mnt"))
	const head = "POST /v1/status HTTP/1.1\r\nHost: cache\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, first := range []string{"", "2\r\n{}\r\n"} {
		c := u.dialRaw()
		defer c.Close()
		io.WriteString(c, head+first)
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			io.Copy(io.Discard, c)
		}()
		began := time.Now()
		var g sync.WaitGroup
		g.Go(func() {
			for {
				if _, err := io.WriteString(c, "1\r\n \r\n"); err != nil {
					return
				}
				select {
				case <-closed:
					return
				case <-time.After(200 * time.Millisecond):
				}
			}
		})
		select {
		case <-closed:
		case <-time.After(45 * time.Second):
			t.Errorf("after %q it is listened to for ever", first)
			c.Close()
		}
		g.Wait()
		t.Log(time.Since(began))
	}
}

// Only the owner is answered: the socket is in a directory that nobody else may
// enter, and when it can be reached all the same, the other's user is looked at.
func TestSocketIsTheOwners(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can be two users")
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("skipped: no curl on this machine")
	}
	u := newUser(t)
	m := small(t, u, "owned")
	u.must("list", "--dataset", m.Dir, "--count")
	socket := filepath.Join(u.cache, "daemon.sock")
	for path, mode := range map[string]os.FileMode{u.cache: 0o700, socket: 0o600} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
	ask := func(uid uint32) (string, error) {
		cmd := exec.Command("curl", "-sS", "--max-time", "10", "--unix-socket", socket, "http://cache/v1/hello")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := ask(65534); err == nil {
		t.Errorf("another user is answered: %s", out)
	}
	// Somebody opens the way to it.
	os.Chmod(u.cache, 0o755)
	os.Chmod(socket, 0o666)
	os.Chmod(u.dir, 0o755)
	if out, err := ask(65534); err == nil {
		t.Errorf("another user is answered: %s", out)
	}
	if out, err := ask(0); err != nil || !strings.Contains(out, "version") {
		t.Errorf("the owner: %s, %v", out, err)
	}
}

// A socket's path may be long, what is planted in its place is refused and
// stays, and what a dead daemon left is replaced.
func TestSocketPlaces(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	m := small(t, u, "placed")
	list := []string{"list", "--dataset", m.Dir, "--count"}
	long := &user{t: t, dir: u.dir, cache: u.path(strings.Repeat("long/", 60) + "cache")}
	long.must(list...)
	long.leaveDaemon()

	u.must(list...)
	socket := filepath.Join(u.cache, "daemon.sock")
	syscall.Kill(u.daemon(), syscall.SIGKILL)
	eventually(t, "it is dead", func() bool { return u.daemon() == 0 })
	if _, err := os.Lstat(socket); err != nil {
		t.Fatal(err)
	}
	u.must(list...)
	u.leaveDaemon()
	if _, err := os.Lstat(socket); err == nil {
		t.Error("an ended daemon leaves its socket")
	}
	write(t, u.path("mine"), "mine\n")
	for what, plant := range map[string]func() error{
		"a link to a file": func() error { return os.Symlink(u.path("mine"), socket) },
		"a link to none":   func() error { return os.Symlink(u.path("none"), socket) },
		"a file":           func() error { return os.WriteFile(socket, []byte("x"), 0o600) },
		"a pipe":           func() error { return syscall.Mkfifo(socket, 0o600) },
	} {
		if err := plant(); err != nil {
			t.Fatal(err)
		}
		u.fails(1, []string{"daemon.sock", "no socket"}, list...)
		if _, err := os.Lstat(socket); err != nil {
			t.Errorf("%s is gone", what)
		}
		os.Remove(socket)
	}
	if got, err := os.ReadFile(u.path("mine")); err != nil || string(got) != "mine\n" {
		t.Errorf("a planted link was followed: %q, %v", got, err)
	}
	if _, err := os.Lstat(u.path("none")); err == nil {
		t.Error("a planted link was followed")
	}
	u.must(list...)
}

// One process owns a cache: of many daemons that are started at once one serves,
// the others say so and end, and a number in a file means nothing.
func TestOneDaemonOwnsACache(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	m := small(t, u, "owned-once")
	u.must("list", "--dataset", m.Dir, "--count")
	pid := u.daemon()
	for range 3 {
		cmd := u.command(t.Context(), "daemon", "--cache", u.cache)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, _ := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
			t.Errorf("the second daemon says %q", line)
		}
		if err := cmd.Wait(); err == nil {
			t.Error("the second daemon ends as if it had served")
		}
	}
	if u.daemon() != pid {
		t.Error("the first daemon is gone")
	}
	u.leaveDaemon()
	var g sync.WaitGroup
	for range 8 {
		g.Go(func() { u.must("list", "--dataset", m.Dir, "--count") })
	}
	g.Wait()
	log, err := os.ReadFile(filepath.Join(u.cache, "daemon.log"))
	if n := bytes.Count(log, []byte("msg=start ")); err != nil || n != 2 {
		t.Errorf("%d daemons served, want 2; %v", n, err)
	}
}

// The status is told within a second or so, whatever is under way.
func TestStatusIsSoonThere(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	slow, other := small(t, u, "slow-status"), small(t, u, "served")
	waits, release := holdGit(t, u, "slow-status")
	u.must("mount", "--dataset", other.Dir, u.path("mnt"))
	first := u.start("mount", "--dataset", slow.Dir, u.path("first"))
	eventually(t, "it clones", waits)
	client := u.socket()
	client.Timeout = 5 * time.Second
	began := time.Now()
	resp, err := client.Post("http://cache/v1/status", "", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	release()
	first.ends(t, time.Minute)
}
