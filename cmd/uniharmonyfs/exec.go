package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	uhfs "github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/control"
)

func execCommand() *cli.Command {
	return &cli.Command{
		Name:      "exec",
		Usage:     "run one command on a view, which is there for as long as it runs",
		ArgsUsage: "-- COMMAND [ARGUMENT…]",
		Description: `{} in an argument, and $UNIHARMONYFS_MOUNT, is the directory of the view. Signals go
to the command, and its exit code comes back: 127 when it is not found, 126 when it
cannot be run, 128 and the signal's number when a signal ended it. When it ends, or
this program is killed, the view goes; files that were fetched stay cached.

EXAMPLES:
   uniharmonyfs exec --sub 03286 -- ls -R {}
   uniharmonyfs exec --sub 03286 -- mriqc {} ~/out participant
   uniharmonyfs exec --dataset ds000001 --clean -- sh -c 'du -sh "$UNIHARMONYFS_MOUNT"'`,
		Flags: flags(selectionFlags(), datasetFlags(), generalFlags(), viewFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "clean", Usage: "drop in the end what the view brought, but not pinned files", Category: catGeneral},
		}),
		Action: runExec,
	}
}

// exitWith ends the program with a code of a command's own.
type exitWith struct {
	code int
	why  error // nil: there is nothing to say
}

func (e *exitWith) Error() string { return fmt.Sprint(e.why) }

func runExec(c *cli.Context) error {
	args := c.Args().Slice()
	if len(args) == 0 {
		return usage("exec runs a command, and none is given", "for example: uniharmonyfs exec --sub 03286 -- ls -R {}")
	}
	if err := canRun(args[0]); err != nil {
		return err
	}
	id := rand.Text()
	req, err := viewRequest(c)
	if err != nil {
		return err
	}
	req.ID, req.Target = id, filepath.Join(os.TempDir(), "uniharmonyfs-exec-"+id[:12])
	if req.Target, err = filepath.Abs(req.Target); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	v, err := hold(c, client, control.HoldRequest{MountRequest: req, Clean: c.Bool("clean")})
	if err != nil {
		return err
	}
	err = runOn(args, v.info.Target)
	if bad := v.end(client, c.Bool("clean")); err == nil {
		err = bad
	} else {
		report(os.Stderr, false, bad)
	}
	return err
}

// held is a view that is there until end.
type held struct {
	info control.MountInfo
	id   string
	gone chan error // how it ended
}

// hold makes a view, and returns when it is there.
func hold(c *cli.Context, client *control.Client, req control.HoldRequest) (*held, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.Context))
	stop := context.AfterFunc(c.Context, cancel) // until the command has signals of its own
	v := &held{id: req.ID, gone: make(chan error, 1)}
	mounted := make(chan control.MountInfo, 1)
	p := newProgress(c)
	go func() {
		v.gone <- client.Hold(ctx, req, p.show, func(info control.MountInfo) { mounted <- info })
	}()
	select {
	case v.info = <-mounted:
		p.done()
		if stop() {
			return v, nil
		}
	case err := <-v.gone:
		p.done()
		if c.Context.Err() == nil {
			return nil, err
		}
	}
	ctx, cancelLast := lastWords()
	defer cancelLast()
	_, err := client.Unmount(ctx, control.UnmountRequest{Target: req.Target, ID: req.ID, Clean: req.Clean, Force: true})
	return nil, errors.Join(advice.New(advice.Interrupted, "interrupted", nil), err)
}

// end takes the view away. What went wrong with it meanwhile is told: the command may
// not have noticed.
func (v *held) end(client *control.Client, clean bool) error {
	select {
	case err := <-v.gone:
		uhfs.DetachStale(v.info.Target) // that of a daemon that was killed
		os.Remove(v.info.Target)
		if err == nil {
			err = errors.New("somebody else took it away")
		}
		return advice.New(advice.Failed, "the view went before the command ended", err)
	default:
	}
	ctx, cancel := lastWords()
	defer cancel()
	_, err := client.Unmount(ctx, control.UnmountRequest{Target: v.info.Target, ID: v.id, Clean: clean, Force: true})
	<-v.gone
	return err
}

// canRun tells before anything is done that a command cannot be run.
func canRun(name string) error {
	if strings.Contains(name, "{}") {
		return nil
	}
	_, err := exec.LookPath(name)
	return cannotRun(name, err)
}

// cannotRun says why a command cannot be run, with the exit code that shells have for it.
func cannotRun(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return &exitWith{127, advice.New(advice.Failed, "the command "+name+" is not found", nil, "give its path, or look at $PATH")}
	}
	return &exitWith{126, advice.New(advice.Failed, "the command "+name+" cannot be run", err)}
}

// runOn runs a command on a view, and returns how it ended. It dies with this process.
func runOn(args []string, target string) error {
	// The kernel takes the thread that started it for this process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "{}", target)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "UNIHARMONYFS_MOUNT="+target)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded...)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return cannotRun(args[0], err)
	}
	ended := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-signals:
				if !hasIt(s) {
					cmd.Process.Signal(s)
				}
			case <-ended:
				return
			}
		}
	}()
	err := cmd.Wait()
	close(ended)
	state := cmd.ProcessState
	if state == nil {
		return err
	}
	switch status := state.Sys().(syscall.WaitStatus); {
	case status.Signaled():
		return &exitWith{code: 128 + int(status.Signal())}
	case status.ExitStatus() != 0:
		return &exitWith{code: status.ExitStatus()}
	}
	return nil
}

// forwarded are the signals that are the command's.
var forwarded = []os.Signal{
	syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2,
	syscall.SIGALRM, syscall.SIGCONT, syscall.SIGXCPU, syscall.SIGWINCH,
}

// hasIt reports whether the command has a signal already: a terminal sends what is typed
// at it to all of the group of processes in front.
func hasIt(s os.Signal) bool {
	if s != syscall.SIGINT && s != syscall.SIGQUIT && s != syscall.SIGWINCH {
		return false
	}
	tty, err := os.Open("/dev/tty")
	if err != nil || !term.IsTerminal(int(tty.Fd())) {
		return false
	}
	defer tty.Close()
	front, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && front == unix.Getpgrp()
}
