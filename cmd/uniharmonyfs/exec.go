package main

import (
	"crypto/rand"
	"encoding/json"
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
	"github.com/uniharmony/uniharmonyfs/internal/place"
	"github.com/uniharmony/uniharmonyfs/internal/upper"
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

With --writable DIR the command can write in the view, change files and delete them.
What is below does not change: DIR/files has what was written, and "changes DIR" tells
what that is. Another command on the same version can go on there.

EXAMPLES:
   uniharmonyfs exec --sub 03286 -- ls -R {}
   uniharmonyfs exec --sub 03286 -- mriqc {} ~/out participant
   uniharmonyfs exec --sub 03286 --at /data -- ls -R /data
   uniharmonyfs exec --sub 03286 --writable ~/work -- pybids layout {} {}/.pybids
   uniharmonyfs exec --sub 03286 --output mriqc="$HOME/out" -- mriqc {} {}/derivatives/mriqc participant
   uniharmonyfs exec --dataset ds000001 --clean -- sh -c 'du -sh "$UNIHARMONYFS_MOUNT"'`,
		Flags: flags(selectionFlags(), datasetFlags(), generalFlags(), viewFlags(), writableFlags(), []cli.Flag{
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
	// The kernel takes the thread that started a process for the parent that it dies with.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	job.Sweep()
	var room *job.Room
	defer func() {
		if room != nil {
			report(os.Stderr, false, room.Close())
		}
	}()
	newRoom := func() (_ *job.Room, err error) {
		if room == nil {
			room, err = job.NewRoom()
		}
		return room, err
	}
	client, own, err := connectForCommand(c, newRoom)
	if err != nil {
		return err
	}
	dir, err := cacheDir(c)
	if err != nil {
		return err
	}
	if own {
		dir = room.Cache()
		defer func() { report(os.Stderr, false, room.StopDaemon(client)) }()
	}
	// What is mounted in a namespace of its own goes with that, whoever is killed.
	must := c.IsSet("at") || c.IsSet("writable") || c.IsSet("output") || !uhfs.CanMount()
	aside := must || own || place.Here().MayBeKilled()
	at := c.String("at")
	switch {
	case c.IsSet("at"):
	case aside:
		if _, err := newRoom(); err != nil {
			return err
		}
		at, req.Directories = room.View(), room.Directories()
	default:
		at = filepath.Join(os.TempDir(), job.ViewName+req.ID[:12])
	}
	if at, err = filepath.Abs(at); err != nil {
		return err
	}
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "{}", at)
	}
	req.Target = at
	over, err := job.OpenOver(c.String("writable"), *c.Generic("output").(*upper.Given), dir, req.Spec, at)
	if err != nil {
		return err
	}
	defer over.Close()
	req.Layer = !over.Empty()
	cmd := exec.Command(args[0], args[1:]...)
	start, handedOver := cmd.Start, func() {}
	if aside {
		switch a, err := job.StartAside(at, dir.MountSource(), over.Stack, []string{"inside", "--"}, args, over.Holds()...); {
		case err == nil:
			defer a.Stop()
			var offer string
			if offer, handedOver, err = client.Offer(a.Device); err != nil {
				return err
			}
			req.Device, req.Target = offer, fmt.Sprintf("/proc/%d/root%s", a.Cmd.Process.Pid, at)
			cmd, start = a.Cmd, a.GoOn
		case must:
			return err
		}
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
	if err = over.Claim(req.MountRequest, v.Info); err == nil {
		err = job.Run(c.Context, cmd, start, at)
	}
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
			var over upper.Stack
			if len(args) < 4 || json.Unmarshal([]byte(args[2]), &over) != nil {
				return usage("inside is for exec")
			}
			return job.Inside(args[0], args[1], over, args[3:])
		},
	}
}
