package main

import (
	"crypto/rand"
	"encoding/json"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/job"
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
Without --at the view is mounted in $TMPDIR. If the cache is served by another batch
job, in a container, or on another host, the command has a cache of its own there while
it runs, and reads from the other one what that has.

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
			&cli.BoolFlag{Name: "progress", Usage: "show on a terminal, while the command runs, what is fetched and waited for", Category: catGeneral},
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
	view, err := viewRequest(c)
	if err != nil {
		return err
	}
	dir, err := cacheDir(c)
	if err != nil {
		return err
	}
	req := control.HoldRequest{MountRequest: view, Clean: c.Bool("clean")}
	req.ID = rand.Text()
	p := newProgress(c)
	defer p.done()
	return job.Exec(c.Context, job.Options{
		View: req, Args: args, At: c.String("at"), Upper: c.String("writable"), Outputs: *c.Generic("output").(*upper.Given),
		Cache: dir, Version: programVersion(), Inside: []string{"inside", "--"},
		Progress: p.show,
		Ready: func(info control.MountInfo, at string) {
			p.done()
			if !c.Bool("quiet") {
				sayHints(info, at)
			}
		},
		Elsewhere: func(e *control.ElsewhereError) { sayElsewhere(c, dir, e) },
		Report:    func(err error) { p.done(); report(os.Stderr, false, err) },
		Moment:    p.moments(c),
	})
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
