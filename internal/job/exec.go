package job

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	uhfs "github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/place"
	"github.com/uniharmony/uniharmonyfs/internal/upper"
)

// Options say what Exec does.
type Options struct {
	View    control.HoldRequest // but for its target
	Args    []string            // the command; {} in them is the view's directory
	At      string              // where the command sees the view; "" is a place below $TMPDIR
	Upper   string              // directory for what the command writes; "" is that it cannot
	Outputs upper.Given
	Cache   cachedir.Dir
	Version string   // of the program
	Inside  []string // arguments with which this program calls [Inside]

	// What is told meanwhile: how the view comes, that it is there, that the cache is
	// served elsewhere, and what went wrong beside what is returned.
	Progress  func(control.Progress)
	Ready     func(info control.MountInfo, at string)
	Elsewhere func(*control.ElsewhereError)
	Report    func(error)
	Moment    func(Moment) // while the command runs; nil tells nothing
}

// Exec runs a command on a view, and returns how it ended: as [Run] does, or with why
// there is no view.
func Exec(ctx context.Context, o Options) (err error) {
	if err := CanRun(o.Args[0]); err != nil {
		return err
	}
	// The kernel takes the thread that started a process for the parent that it dies with.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	Sweep()
	room := new(Room)
	client, end, err := ConnectOwn(ctx, o.Cache, o.Version, room, o.Elsewhere)
	defer func() { o.Report(end()) }()
	if err != nil {
		return err
	}
	own, cache := room.daemon != nil, o.Cache
	if own {
		cache = room.Cache()
	}
	// What is mounted in a namespace of its own goes with that, also when all of a job is
	// killed at once. For who is not root that takes a user namespace, where containers'
	// programs are refused what they need.
	must := o.At != "" || o.Upper != "" || len(o.Outputs) > 0 || !uhfs.CanMount()
	aside := must || os.Geteuid() == 0 && (own || place.Here().MayBeKilled())
	req, at := o.View, o.At
	switch {
	case at != "":
	case aside || own:
		if err := room.Make(); err != nil {
			return err
		}
		at, req.Directories = room.View(), room.Directories()
	default:
		at = filepath.Join(os.TempDir(), viewName+req.ID[:12])
	}
	if at, err = filepath.Abs(at); err != nil {
		return err
	}
	args := make([]string, len(o.Args))
	for i, a := range o.Args {
		args[i] = strings.ReplaceAll(a, "{}", at)
	}
	over, err := openOver(o.Upper, o.Outputs, os.FileMode(req.Umask), o.Cache, req.Spec, at)
	if err != nil {
		return err
	}
	defer func() { over.close() }()
	req.Target, req.Layer = at, !over.Empty()
	cmd := exec.Command(args[0], args[1:]...)
	start, handedOver := cmd.Start, func() {}
	if aside {
		switch a, err := StartAside(at, cache.MountSource(), over.Stack, o.Inside, args, over.holds()...); {
		case err == nil:
			defer a.Stop()
			var offer string
			if offer, handedOver, err = client.Offer(a.Device); err != nil {
				return err
			}
			req.Device, req.Target = offer, fmt.Sprintf("/proc/%d/root%s", a.Cmd.Process.Pid, at)
			cmd, start = a.Cmd, a.GoOn
		case must && (o.At != "" || !over.leave(&req.MountRequest)):
			return err
		}
	}
	v, err := Hold(ctx, client, req, o.Progress)
	handedOver()
	if err != nil {
		return err
	}
	o.Ready(v.Info, at)
	if err = over.claim(req.MountRequest, v.Info); err == nil {
		stop := func() {}
		if o.Moment != nil {
			stop = v.watch(client, o.Moment)
		}
		err = Run(ctx, cmd, start, at)
		stop()
	}
	if bad := v.End(client, req.Clean); err == nil {
		err = bad
	} else {
		o.Report(bad)
	}
	return err
}
