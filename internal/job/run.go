package job

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	uhfs "github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/control"
)

// An Exit is how a command ended, or why it could not be run, with the exit code that
// shells have for it.
type Exit struct {
	Code int
	Why  error // nil: there is nothing to say
}

func (e *Exit) Error() string { return fmt.Sprint(e.Why) }

// lastWords bounds the end of a view.
const lastWords = 30 * time.Second

// Held is a view that is there until End.
type Held struct {
	Info  control.MountInfo
	id    string
	aside bool       // it goes with the command's namespace
	leave func()     // ends the connection that holds it
	gone  chan error // how it ended
}

// Hold makes a view, and returns when it is there. From then on it is there whatever
// becomes of ctx.
func Hold(ctx context.Context, client *control.Client, req control.HoldRequest, progress func(control.Progress)) (*Held, error) {
	inside, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel) // until the command has signals of its own
	v := &Held{id: req.ID, aside: req.Device != "", leave: cancel, gone: make(chan error, 1)}
	mounted := make(chan control.MountInfo, 1)
	go func() {
		v.gone <- client.Hold(inside, req, progress, func(info control.MountInfo) { mounted <- info })
	}()
	select {
	case v.Info = <-mounted:
		if stop() {
			return v, nil
		}
	case err := <-v.gone:
		if ctx.Err() == nil {
			return nil, err
		}
	}
	last, cancelLast := context.WithTimeout(context.Background(), lastWords)
	defer cancelLast()
	_, err := client.Unmount(last, control.UnmountRequest{Target: req.Target, ID: req.ID, Clean: req.Clean, Force: true})
	return nil, errors.Join(advice.New(advice.Interrupted, "interrupted", nil), err)
}

// End takes the view away. What went wrong with it meanwhile is told: the command may
// not have noticed.
func (v *Held) End(client *control.Client, clean bool) error {
	if v.aside {
		select {
		case err := <-v.gone:
			return err
		case <-time.After(time.Second): // what the command has started is still there
		}
	}
	select {
	case err := <-v.gone:
		uhfs.DetachStale(v.Info.Target) // that of a daemon that was killed
		os.Remove(v.Info.Target)
		if err == nil {
			err = errors.New("somebody else took it away")
		}
		return advice.New(advice.Failed, "the view went before the command ended", err)
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	_, err := client.Unmount(ctx, control.UnmountRequest{Target: v.Info.Target, ID: v.id, Clean: clean, Force: true})
	if err != nil {
		v.leave() // the daemon takes it away, if it can
	}
	<-v.gone
	return err
}

// CanRun tells before anything is done that a command cannot be run.
func CanRun(name string) error {
	if strings.Contains(name, "{}") {
		return nil
	}
	_, err := exec.LookPath(name)
	return CannotRun(name, err)
}

// CannotRun says why a command cannot be run, with the exit code that shells have for it.
func CannotRun(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return &Exit{127, advice.New(advice.Failed, "the command "+name+" is not found", nil, "give its path, or look at $PATH")}
	}
	return &Exit{126, advice.New(advice.Failed, "the command "+name+" cannot be run", err)}
}

// Run starts a command on a view, unless ctx has ended, and returns how it ended. ctx ends
// with a signal for this process: from now on they are the command's.
func Run(ctx context.Context, cmd *exec.Cmd, start func() error, target string) error {
	if cmd.Process == nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.Env = append(os.Environ(), "UNIHARMONYFS_MOUNT="+target)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded...)
	defer signal.Stop(signals)
	if ctx.Err() != nil {
		return advice.New(advice.Interrupted, "interrupted", nil)
	}
	if err := start(); err != nil {
		return CannotRun(cmd.Args[0], err)
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
		return &Exit{Code: 128 + int(status.Signal())}
	case status.ExitStatus() != 0:
		return &Exit{Code: status.ExitStatus()}
	}
	return nil
}

// forwarded are the signals that are the command's.
var forwarded = Heeded(
	syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2,
	syscall.SIGALRM, syscall.SIGCONT, syscall.SIGXCPU, syscall.SIGWINCH,
)

// Heeded returns the signals that this process was not told to ignore when it began, as
// nohup does. It is asked before any of them is listened to.
func Heeded(signals ...os.Signal) []os.Signal { return slices.DeleteFunc(signals, signal.Ignored) }

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
