package fs_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	uhfs "github.com/uniharmony/uniharmonyfs/fs"
)

// The server runs in a process of its own, the test binary again: a process
// that looks into a mount it serves itself can wait for itself.

const serverEnv = "UNIHARMONYFS_TEST_SERVER"

type config struct {
	Fixture, Target, FsName, Objects string
	StatFs                           bool
	Members                          bool
}

var (
	testTime  = time.Date(2021, 3, 4, 5, 6, 7, 89, time.UTC)
	running   atomic.Int32
	mountName = fmt.Sprintf("test-%d-", os.Getpid())
)

func TestMain(m *testing.M) {
	if c := os.Getenv(serverEnv); c != "" {
		os.Exit(serve(c))
	}
	code := m.Run()
	mounts, err := uhfs.ListMounts()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	for _, i := range mounts {
		if strings.HasPrefix(i.FsName, mountName) {
			fmt.Fprintln(os.Stderr, "a mount was left behind:", i.Target, uhfs.DetachStale(i.Target))
			code = 1
		}
	}
	if n := running.Load(); n != 0 {
		fmt.Fprintln(os.Stderr, n, "servers were left behind")
		code = 1
	}
	os.Exit(code)
}

// serve is the server's life: commands come in on stdin, one a line, each
// gets one line back. When stdin ends it goes.
func serve(c string) int {
	var cfg config
	if err := json.Unmarshal([]byte(c), &cfg); err != nil {
		return 3
	}
	f, err := newFixture(cfg.Fixture)
	if err != nil {
		fmt.Println("error:", err)
		return 3
	}
	o := &opener{fixture: f, dir: cfg.Objects, gate: make(chan struct{}), pass: make(chan struct{}), files: map[string]string{}, made: map[string][]byte{}}
	if cfg.Fixture == "many-stuck" {
		o.data = content("later", laterSize)
	}
	if cfg.Fixture == "fio" {
		dir, err := os.MkdirTemp("", "fio")
		if err == nil {
			defer os.RemoveAll(dir)
			o.data, err = fioData(dir)
		}
		if err != nil {
			fmt.Println("error:", err)
			return 3
		}
	}
	opts := uhfs.Options{
		Target: cfg.Target, FsName: cfg.FsName, Control: &control{}, ObjectDir: cfg.Objects,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Errno: func(err error) syscall.Errno {
			if errors.Is(err, errOwn) {
				return syscall.ETIMEDOUT
			}
			return 0
		},
	}
	if cfg.StatFs {
		opts.StatFs = func() (uint64, uint64) { return 1 << 40, 1 << 39 }
	}
	root := o.part(testTime)
	if cfg.Members {
		o.names = []string{"ds000001", "ds000002", "is-unreachable", "is-stuck"}
		root.Members = o
	}
	m, err := uhfs.Mount(root, opts)
	if err != nil {
		fmt.Println("error:", err)
		return 3
	}
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		fmt.Println(answer(m, o, in.Text()))
	}
	m.Detach()
	return 0
}

func answer(m *uhfs.Mounted, o *opener, command string) string {
	say := func(err error) string {
		switch {
		case errors.Is(err, syscall.EBUSY):
			return "EBUSY: " + err.Error()
		case err != nil:
			return "error: " + err.Error()
		}
		return "ok"
	}
	switch command {
	case "unmount":
		return say(m.Unmount())
	case "detach":
		return say(m.Detach())
	case "wait":
		m.Wait()
		return "ok"
	case "open":
		return fmt.Sprint(m.OpenFiles())
	case "waiting":
		return fmt.Sprint(o.waiting.Load())
	case "release":
		close(o.gate)
		return "ok"
	case "pass":
		for o.waiting.Load() > 0 {
			select {
			case o.pass <- struct{}{}:
			case <-time.After(time.Millisecond):
			}
		}
		return "ok"
	case "entered":
		return fmt.Sprint(o.entered.Load())
	case "forget":
		return fmt.Sprint(m.Forget(time.Now().Add(time.Hour)))
	case "forget nothing":
		return fmt.Sprint(m.Forget(time.Now().Add(-time.Hour)))
	case "come":
		o.mu.Lock()
		o.names = append(o.names, "a-new-one")
		o.mu.Unlock()
		m.Relist()
		return "ok"
	case "passthrough":
		return fmt.Sprint(m.Passthrough())
	}
	return "error: what?"
}
