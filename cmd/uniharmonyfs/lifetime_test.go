package main_test

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// background runs a command and returns what waits for its end.
func (u *user) background(ctx context.Context, program string, args ...string) (cmd *exec.Cmd, end func() (string, error)) {
	u.t.Helper()
	cmd = u.command(ctx, args...)
	cmd.Path = program
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return cmd, func() (string, error) {
		u.t.Helper()
		select {
		case err := <-ended:
			return said.String(), err
		case <-time.After(time.Minute):
			cmd.Process.Kill()
			<-ended
			u.t.Fatalf("uniharmonyfs %v does not end\n%s", args, said.String())
			return "", nil
		}
	}
}

// held makes the content of a server wait until it is let go. began is closed
// when the first of it is asked for.
func held(s *publisher.Server) (began chan struct{}, letGo func()) {
	began, open := make(chan struct{}), make(chan struct{})
	var first, last sync.Once
	s.SetFault(func(publisher.Request) publisher.Fault {
		first.Do(func() { close(began) })
		<-open
		return nil
	})
	return began, func() { last.Do(func() { close(open) }) }
}

func comes(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatal("the server is not asked")
	}
}

func TestUpdatedProgramLeavesADownloadAlone(t *testing.T) {
	u := newUser(t)
	s, m := serve(t, u, files("update", 3, 5000))
	other := filepath.Join(u.dir, "other")
	if out, err := exec.Command("go", "build", "-ldflags", "-X main.version=other", "-o", other, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	u.must("list", "--dataset", s.GitURL(m), "--count")
	began, letGo := held(s)
	defer letGo()
	_, end := u.background(context.Background(), binary, "get", "--dataset", s.GitURL(m), u.path("got"))
	comes(t, began)
	_, otherEnd := u.background(context.Background(), other, "list", "--dataset", s.GitURL(m), "--count")
	said, err := otherEnd()
	if err == nil || !bytes.Contains([]byte(said), []byte("at work for: get")) || !bytes.Contains([]byte(said), []byte("wait for that command")) {
		t.Errorf("the other version: %v\n%s", err, said)
	}
	letGo()
	if said, err := end(); err != nil {
		t.Errorf("the download: %v\n%s", err, said)
	}
	if n := len(walk(t, u.path("got"))); n != 5 {
		t.Errorf("%d files are there, want 5", n)
	}
}

// Commands that come just when the daemon stops for idleness reach the next one.
func TestCommandsAtTheMomentOfTheEnd(t *testing.T) {
	u := newUser(t)
	_, m := serve(t, u, files("moment", 2, 1000))
	client := u.socket()
	for n := range 12 {
		u.must("list", "--dataset", m.Dir, "--count")
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				if r := u.run("list", "--dataset", m.Dir, "--count"); r.code != 0 {
					t.Errorf("exit %d: %s", r.code, r.errout)
				}
			})
		}
		time.Sleep(time.Duration(n) * 5 * time.Millisecond) // each time at another moment
		if resp, err := client.Post("http://daemon/v1/stop?if=idle", "", nil); err == nil {
			resp.Body.Close()
		}
		all.Wait()
	}
}
