package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/urfave/cli/v2"

	uhfs "github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/job"
)

func execCommand() *cli.Command {
	return &cli.Command{
		Name:      "exec",
		Usage:     "mount a view, run one command on it, unmount",
		ArgsUsage: "-- COMMAND [ARGUMENT…]",
		Description: `Every {} in the arguments is the directory of the view, as is $UNIHARMONYFS_MOUNT.
Signals go to the command, and its exit code comes back: 127 when it is not found, 126
when it cannot be run, 128 and the signal's number when a signal ended it. When it
ends, or this program is killed, the view goes; files that were fetched stay cached.
Without --at the view is mounted in $TMPDIR.

EXAMPLES:
   uniharmonyfs exec --sub 03286 -- ls -R {}
   uniharmonyfs exec --sub 03286 -- mriqc {} ~/out participant
   uniharmonyfs exec --sub 03286 --at /data -- ls -R /data
   uniharmonyfs exec --dataset ds000001 --clean -- sh -c 'du -sh "$UNIHARMONYFS_MOUNT"'`,
		Flags: flags(selectionFlags(), datasetFlags(), generalFlags(), viewFlags(), []cli.Flag{
			&cli.StringFlag{Name: "at", Usage: "show the view at `PATH`, an existing directory, to the command alone; others see what is in it", Category: catGeneral},
			&cli.BoolFlag{Name: "clean", Usage: "drop in the end what the view brought, but not pinned files", Category: catGeneral},
		}),
		Action: runExec,
	}
}

func runExec(c *cli.Context) error {
	args := c.Args().Slice()
	if len(args) == 0 {
		return usage("exec runs a command, and none is given", "for example: uniharmonyfs exec --sub 03286 -- ls -R {}")
	}
	if err := job.CanRun(args[0]); err != nil {
		return err
	}
	view, err := viewRequest(c)
	if err != nil {
		return err
	}
	req := control.HoldRequest{MountRequest: view, Clean: c.Bool("clean")}
	req.ID = rand.Text()
	at := c.String("at")
	switch {
	case at != "":
		at, err = filepath.Abs(at)
	default:
		at, err = filepath.Abs(filepath.Join(os.TempDir(), "uniharmonyfs-exec-"+req.ID[:12]))
	}
	if err != nil {
		return err
	}
	// The kernel takes the thread that started a process for the parent that it dies with.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	client, err := connect(c)
	if err != nil {
		return err
	}
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "{}", at)
	}
	cmd := exec.Command(args[0], args[1:]...)
	start, handedOver := cmd.Start, func() {}
	if req.Target = at; c.IsSet("at") || !uhfs.CanMount() {
		if !c.IsSet("at") {
			if err := os.Mkdir(at, 0o700); err != nil {
				return err
			}
			defer os.Remove(at)
		}
		dir, err := cacheDir(c)
		if err != nil {
			return err
		}
		a, err := job.StartAside(at, dir.MountSource(), []string{"inside", "--"}, args)
		if err != nil {
			return err
		}
		defer a.Stop()
		var offer string
		if offer, handedOver, err = client.Offer(a.Device); err != nil {
			return err
		}
		req.Device, req.Target = offer, fmt.Sprintf("/proc/%d/root%s", a.Cmd.Process.Pid, at)
		cmd, start = a.Cmd, a.GoOn
	}
	p := newProgress(c)
	v, err := job.Hold(c.Context, client, req, p.show)
	p.done()
	handedOver()
	if err != nil {
		return err
	}
	if !c.Bool("quiet") {
		sayHints(v.Info, at)
	}
	err = job.Run(c.Context, cmd, start, at)
	if bad := v.End(client, req.Clean); err == nil {
		err = bad
	} else {
		report(os.Stderr, false, bad)
	}
	return err
}

// insideCommand is the process that becomes the command of exec --at.
func insideCommand() *cli.Command {
	return &cli.Command{
		Name: "inside", Hidden: true, Usage: "become a command in namespaces of its own (started by exec)", SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			args := c.Args().Slice()
			if len(args) > 0 && args[0] == "--" {
				args = args[1:]
			}
			if len(args) < 3 {
				return usage("inside is for exec")
			}
			return job.Inside(args[0], args[1], args[2:])
		},
	}
}
