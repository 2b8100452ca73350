package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/index"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/daemon"
	"github.com/uniharmony/uniharmonyfs/internal/job"
)

// connect reaches the daemon of the command's cache.
func connect(c *cli.Context) (*control.Client, error) {
	dir, err := cacheDir(c)
	if err != nil {
		return nil, err
	}
	return connectTo(c, dir, programVersion())
}

// connectForMount is connect for a mount; see [job.ConnectHere]. One of a connection that
// was given goes with this process, if that stays; see [job.ConnectOwn].
func connectForMount(c *cli.Context, given bool) (client *control.Client, end func() error, err error) {
	end = func() error { return nil }
	dir, err := cacheDir(c)
	switch {
	case err != nil:
		return nil, end, err
	case given && c.Bool("foreground"):
		runtime.LockOSThread() // a daemon of its own goes with the thread that started it
		return job.ConnectOwn(c.Context, dir, programVersion(), new(job.Room), func(e *control.ElsewhereError) { sayElsewhere(c, dir, e) })
	}
	client, err = job.ConnectHere(c.Context, dir, programVersion())
	return client, end, err
}

// sayElsewhere tells that a view has a daemon of its own.
func sayElsewhere(c *cli.Context, dir cachedir.Dir, e *control.ElsewhereError) {
	if !c.Bool("quiet") {
		fmt.Fprintf(os.Stderr, "note: the cache %s is served by %v: %s. This command has a cache of its own while it runs, and borrows from that one.\n", printable(string(dir)), e.At, e.Why)
	}
}

// anyVersion is that of a daemon that is only looked at, or whose mounts are
// taken away: an older one, after an update, must not be in the way for ever.
const anyVersion = ""

func connectTo(c *cli.Context, dir cachedir.Dir, version string) (*control.Client, error) {
	return job.Connect(c.Context, dir, version, nil)
}

// daemonCommand runs the daemon. Other commands start it when they need it.
func daemonCommand() *cli.Command {
	return &cli.Command{
		Name:   "daemon",
		Hidden: true,
		Usage:  "serve a cache (started by the other commands)",
		Flags: flags(generalFlags(), []cli.Flag{
			&cli.DurationFlag{Name: "grace", Usage: "how long to stay without mounts"},
			&cli.DurationFlag{Name: "look", Usage: "how often to look whether anybody sees the mounts"},
			&cli.BoolFlag{Name: "temporary", Usage: "remove the cache at the end"},
			&cli.StringSliceFlag{Name: "remove", Usage: "and then these directories, if they are empty"},
			&cli.StringFlag{Name: "lender", Usage: "use what another cache has"},
		}),
		Action: func(c *cli.Context) error {
			dir, err := cacheDir(c)
			if err != nil {
				return err
			}
			closeInherited()
			// The starter closes its end once we are ready.
			signal.Ignore(syscall.SIGPIPE)
			// The cache is its owner's alone. Downloads bring their caller's.
			syscall.Umask(0o077)
			// Each request brings those of its caller, who may have unset them.
			for _, kv := range gitEnvironment(os.Environ()) {
				name, _, _ := strings.Cut(kv, "=")
				os.Unsetenv(name)
			}
			// Memory is for the user's programs: collect early.
			debug.SetGCPercent(50)
			// Who waits for the kernel's next question keeps one of these busy,
			// and without one to spare the runtime is busy taking it away: it
			// costs a walk through directories a third more processor time.
			if os.Getenv("GOMAXPROCS") == "" {
				runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 2)
			}
			err = daemon.Run(c.Context, dir, daemon.Options{
				Version:     programVersion(),
				Grace:       c.Duration("grace"),
				Look:        c.Duration("look"),
				Temporary:   c.Bool("temporary"),
				Directories: c.StringSlice("remove"),
				Lender:      cachedir.Dir(c.String("lender")),
				CheckIndex:  checkIndex,
				Ready:       func() { fmt.Println("ready") },
				Log:         dir.Log(os.Stderr),
			})
			return sayFault(os.Stdout, err)
		},
	}
}

// closeInherited closes what whoever started this process had open: a daemon would keep
// it, a lock or the end of a pipe, for days.
func closeInherited() {
	var numbers []int
	open, err := os.ReadDir("/proc/self/fd")
	for _, e := range open {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			numbers = append(numbers, n)
		}
	}
	for n := range 1024 {
		if err != nil { // /proc is not mounted
			numbers = append(numbers, n)
		}
	}
	for _, n := range numbers {
		if n < 3 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(n)
		}
	}
}

// sayFault tells the starter why there is no daemon.
func sayFault(w io.Writer, err error) error {
	if control.IsLocked(err) {
		fmt.Fprintln(w, "locked")
	} else if err != nil {
		json.NewEncoder(w).Encode(control.ToAdvice(err))
	}
	return err
}

// checkIndex opens the index in a process of its own.
func checkIndex(dir string) error {
	self, err := job.Program()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "check-index", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	timer := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer timer.Stop()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("it is damaged: %w: %.300s", err, out)
	}
	return nil
}

func checkIndexCommand() *cli.Command {
	return &cli.Command{
		Name:   "check-index",
		Hidden: true,
		Usage:  "verify the index of a stopped cache",
		Action: func(c *cli.Context) error { return index.Check(c.Args().First()) },
	}
}
