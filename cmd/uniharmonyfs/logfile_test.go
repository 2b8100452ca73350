package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
)

// The log of a daemon that runs for long has a bound, and its last words are
// in it.
func TestLogRotatesUnderADaemon(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	_, m := serve(t, u, demo.Dataset())
	u.must("list", "--count", "--dataset", m.Dir)
	u.leaveDaemon()
	log := filepath.Join(u.cache, "daemon.log")
	// Not too large for the command that starts the daemon.
	if err := os.WriteFile(log, []byte(strings.Repeat("0123456789abcde\n", 8<<16)), 0o600); err != nil {
		t.Fatal(err)
	}
	mnt := u.path("mnt")
	u.must("mount", "--dataset", m.Dir, mnt)
	u.must("unmount", mnt)
	old, err := os.Stat(log + ".old")
	if err != nil {
		t.Fatal(err)
	}
	now, err := os.Stat(log)
	if err != nil || now.Size() > 64<<10 || now.Mode() != 0o600 || old.Size() > 8<<20+1024 {
		t.Errorf("the log is %v, the one before %v; %v", now, old, err)
	}
	pid := u.daemon()
	syscall.Kill(pid, syscall.SIGQUIT)
	eventually(t, "the daemon is gone", func() bool { return u.daemon() != pid })
	if said, _ := os.ReadFile(log); !strings.Contains(string(said), "msg=unmounted") || !strings.Contains(string(said), "SIGQUIT") {
		t.Errorf("the log says\n%.2000s", said)
	}
}
