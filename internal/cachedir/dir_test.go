package cachedir

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// A process that was killed while it marked its new cache leaves a directory
// that is a cache all the same; what others keep is nobody's cache.
func TestCacheWhoseMakingWasKilled(t *testing.T) {
	for _, n := range []int{0, 10, 43, len(marker)} {
		dir := Dir(t.TempDir())
		if err := os.WriteFile(filepath.Join(string(dir), markerName+".new"), []byte(marker[:n]), 0o600); err != nil {
			t.Fatal(err)
		}
		if dir.Exists() {
			t.Errorf("%d bytes of the marker are taken for it", n)
		}
		if err := dir.Make(); err != nil || !dir.Exists() {
			t.Errorf("killed after %d bytes: %v", n, err)
		}
		if _, err := os.Lstat(dir.path(markerName + ".new")); err == nil {
			t.Error("something is left")
		}
	}
	for name, text := range map[string]string{markerName: "somebody else's", "data": ""} {
		dir := Dir(t.TempDir())
		if err := os.WriteFile(filepath.Join(string(dir), name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := dir.Make(); err == nil {
			t.Errorf("%s with %q: taken for a cache", name, text)
		}
	}
}

// The first commands of a new user come side by side: each makes the cache, or
// finds it made, at every step of the others, and none finds fault with what they
// do.
func TestCacheIsMadeByManyAtOnce(t *testing.T) {
	for round := range 100 {
		dir := Dir(filepath.Join(t.TempDir(), "above", "cache"))
		begin := make(chan struct{})
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				<-begin
				if err := dir.Make(); err != nil {
					t.Errorf("round %d: making: %v", round, err)
					return
				}
				log, err := dir.OpenLog() // as a command does that starts a daemon
				if err != nil {
					t.Errorf("round %d: log: %v", round, err)
					return
				}
				log.Close()
				if lock, err := dir.Lock(); err == nil { // as a daemon
					lock.Close()
				} else if err != ErrLocked {
					t.Errorf("round %d: lock: %v", round, err)
				}
			})
		}
		close(begin)
		all.Wait()
		if have, err := os.ReadFile(dir.path(markerName)); err != nil || string(have) != marker {
			t.Errorf("round %d: the marker is %q, %v", round, have, err)
		}
		if left, _ := filepath.Glob(dir.path("*.new*")); len(left) > 0 {
			t.Errorf("round %d: left: %q", round, left)
		}
		if t.Failed() {
			return
		}
	}
}

// A command that comes while another one removes the cache makes it again.
func TestCacheIsMadeWhileItIsRemoved(t *testing.T) {
	dir := Dir(filepath.Join(t.TempDir(), "cache"))
	stop := make(chan struct{})
	var removing sync.WaitGroup
	removing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			lock, err := dir.Lock()
			if err != nil {
				continue
			}
			dir.Remove()
			lock.Close()
		}
	})
	for n := range 500 {
		if err := dir.Make(); err != nil {
			t.Errorf("%d: making: %v", n, err)
			break
		}
		lock, err := dir.Lock()
		if err == ErrLocked {
			continue
		} else if err != nil {
			t.Errorf("%d: lock: %v", n, err)
			break
		}
		if err := dir.Make(); err != nil { // as a daemon that has the lock may rely on
			t.Errorf("%d: making with the lock: %v", n, err)
		}
		if !dir.Exists() {
			t.Errorf("%d: it is locked and not there", n)
		}
		lock.Close()
	}
	close(stop)
	removing.Wait()
}
