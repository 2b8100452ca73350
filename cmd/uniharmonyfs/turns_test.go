package main_test

import (
	"context"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// heldClone makes git wait at a server until it is let go.
func heldClone(s *publisher.Server) (began chan struct{}, letGo func()) {
	began, open := make(chan struct{}), make(chan struct{})
	var first, last sync.Once
	s.SetGitFault(func(publisher.Request) publisher.Fault {
		first.Do(func() { close(began) })
		<-open
		return nil
	})
	return began, func() { last.Do(func() { close(open) }) }
}

func TestInterruptWhileAnotherClones(t *testing.T) {
	u := newUser(t)
	s, m := serve(t, u, files("slow", 3, 1000))
	began, letGo := heldClone(s)
	defer letGo()
	first, second := u.path("first"), u.path("second")
	_, firstEnd := u.background(context.Background(), binary, "mount", "--dataset", s.GitURL(m), first)
	comes(t, began)
	cmd, secondEnd := u.background(context.Background(), binary, "mount", "--dataset", s.GitURL(m), second)
	for range 1000 { // its request has come when its target is made
		if _, err := os.Stat(second); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	cmd.Process.Signal(os.Interrupt)
	if said, err := secondEnd(); err == nil || !strings.Contains(said, "interrupted") {
		t.Errorf("interrupted: %v\n%s", err, said)
	}
	if _, err := os.Stat(second); err == nil {
		t.Error("the target is still there")
	}
	letGo()
	if said, err := firstEnd(); err != nil {
		t.Errorf("the first mount: %v\n%s", err, said)
	}
	u.must("unmount", first)
}

func TestCleanWaitsForACloneAndNobodyForIt(t *testing.T) {
	u := newUser(t)
	s, m := serve(t, u, files("slow", 3, 1000))
	_, other := serve(t, u, files("other", 3, 1000))
	u.must("list", "--dataset", s.GitURL(m), "--count")
	names, err := os.ReadDir(u.cache + "/datasets")
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	name := names[0].Name()
	u.must("clean", name)
	// The clone's directory is there while it is made: an empty one stands in.
	began, letGo := heldClone(s)
	defer letGo()
	_, listEnd := u.background(context.Background(), binary, "list", "--dataset", s.GitURL(m), "--count")
	comes(t, began)
	if err := os.MkdirAll(u.cache+"/datasets/"+name, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd, cleanEnd := u.background(context.Background(), binary, "clean", name)
	cleaning := func() bool {
		resp, err := u.ask("/v1/hello")
		return err == nil && strings.Contains(resp, `"clean"`)
	}
	for n := 0; !cleaning(); n++ {
		if n == 1000 {
			t.Fatal("clean does not begin")
		}
		time.Sleep(10 * time.Millisecond)
	}
	mnt := u.path("mnt")
	_, mountEnd := u.background(context.Background(), binary, "mount", "--dataset", other.Dir, mnt)
	if said, err := mountEnd(); err != nil {
		t.Errorf("a mount of another dataset: %v\n%s", err, said)
	}
	u.must("unmount", mnt)
	cmd.Process.Signal(os.Interrupt)
	if said, err := cleanEnd(); err == nil || !strings.Contains(said, "interrupted") {
		t.Errorf("interrupted: %v\n%s", err, said)
	}
	letGo()
	listEnd()
	u.must("clean", name)
	if left, _ := os.ReadDir(u.cache + "/datasets"); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
	u.must("list", "--dataset", s.GitURL(m), "--count")
}

// ask asks the daemon and returns what it says.
func (u *user) ask(path string) (string, error) {
	client := u.socket()
	resp, err := client.Get("http://daemon" + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	return string(said), err
}
