package main_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
)

// An interrupted mount leaves nothing mounted, whenever the interrupt comes.
func TestInterruptedMountIsNotThere(t *testing.T) {
	u := newUser(t)
	_, m := serve(t, u, demo.Dataset())
	u.must("list", "--dataset", m.Dir, "--count")
	mounted, interrupted := 0, 0
	for n := range 60 {
		target := u.path("mnt")
		cmd := u.command(context.Background(), "mount", "--dataset", m.Dir, target)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(n) * time.Millisecond)
		cmd.Process.Signal(os.Interrupt)
		if cmd.Wait() == nil {
			mounted++
			u.must("unmount", target)
			os.Remove(target)
			continue
		}
		interrupted++
		table, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil || strings.Contains(string(table), target) {
			t.Fatalf("interrupt %d left a mount; %v", n, err)
		}
		if _, err := os.Lstat(target); err == nil {
			t.Fatalf("interrupt %d left the target", n)
		}
	}
	if mounted == 0 || interrupted == 0 {
		t.Logf("no variety: %d mounted, %d interrupted", mounted, interrupted)
	}
	if s := u.status(); len(s.Mounts) != 0 {
		t.Errorf("mounts: %v", s.Mounts)
	}
}
