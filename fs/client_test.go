package fs_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A syncBuffer can be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A server is the test's end of such a process.
type server struct {
	*fixture
	t      *testing.T
	cfg    config
	dir    string // the mount
	cmd    *exec.Cmd
	in     *os.File
	mu     sync.Mutex
	out    *bufio.Scanner
	log    syncBuffer
	killed bool
}

func hasFUSE() bool {
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err == nil {
		f.Close()
	}
	_, noHelper := exec.LookPath("fusermount3")
	return err == nil && (os.Geteuid() == 0 || noHelper == nil)
}

func start(t *testing.T, cfg config, env ...string) *server {
	t.Helper()
	if !hasFUSE() {
		t.Skip("FUSE cannot be used here: /dev/fuse or fusermount3 is missing or not permitted")
	}
	f, err := newFixture(cfg.Fixture)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Target == "" {
		cfg.Target = filepath.Join(t.TempDir(), "m n\t\\t") // mountinfo escapes these
		if err := os.Mkdir(cfg.Target, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cfg.FsName = mountName + filepath.Base(t.Name())
	s := &server{fixture: f, t: t, cfg: cfg, dir: cfg.Target}
	text, _ := json.Marshal(cfg)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.Command(exe)
	s.cmd.Env = append(append(os.Environ(), serverEnv+"="+string(text), "GORACE=atexit_sleep_ms=0"), env...)
	s.cmd.Stderr = &s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdin, s.in = stdin, w
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	stdin.Close()
	if err != nil {
		t.Fatal(err)
	}
	running.Add(1)
	s.out = bufio.NewScanner(out)
	t.Cleanup(s.stop)
	if got := s.read(); got != "ready" {
		t.Fatalf("the server says %q\n%s", got, s.log.String())
	}
	return s
}

func (s *server) read() string {
	if !s.out.Scan() {
		return "nothing"
	}
	return s.out.Text()
}

// ask sends a command and returns the answer.
func (s *server) ask(command string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := fmt.Fprintln(s.in, command); err != nil {
		return err.Error()
	}
	return s.read()
}

func (s *server) want(command, answer string) {
	s.t.Helper()
	if got := s.ask(command); got != answer {
		s.t.Fatalf("%s: the server says %q, want %q", command, got, answer)
	}
}

// until asks until it gets the answer.
func (s *server) until(command, answer string) {
	s.t.Helper()
	eventually(s.t, command+" "+answer, func() bool { return s.ask(command) == answer })
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// stop ends the server. It must go by itself, unless it was killed.
func (s *server) stop() {
	if !s.killed {
		if got := s.ask("unmount"); got != "ok" {
			s.t.Errorf("unmount: %s", got)
			s.ask("detach")
		}
	}
	s.in.Close()
	watchdog := time.AfterFunc(20*time.Second, func() {
		s.cmd.Process.Signal(syscall.SIGABRT) // all stacks
	})
	err := s.cmd.Wait()
	watchdog.Stop()
	running.Add(-1)
	if !s.killed && err != nil || strings.Contains(s.log.String(), "DATA RACE") {
		s.t.Errorf("the server: %v\n%s", err, s.log.String())
	}
	if s.t.Failed() {
		s.t.Logf("the server's log:\n%.20000s", s.log.String())
	}
}

func (s *server) kill() {
	s.cmd.Process.Kill()
	s.killed = true
}

func (s *server) path(name string) string { return filepath.Join(s.dir, name) }
