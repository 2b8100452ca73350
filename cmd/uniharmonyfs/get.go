package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/urfave/cli/v2"
)

func getCommand() *cli.Command {
	return &cli.Command{
		Name:      "get",
		Aliases:   []string{"download"},
		Usage:     "download files as real files into a directory",
		ArgsUsage: "TARGET",
		Description: `TARGET gets real files only: no git, no links. What comes along is what a mount
would show; --plain leaves it at the files that were asked for, as they are in
the dataset, and those that --root-files names. The files pass through the cache
and stay there, unless --tmp-clean is given.

Run again, it continues: what is there is not fetched again. TARGET may hold
files already: identical ones are kept, different ones are never overwritten
without --force. Several downloads into one TARGET make one dataset there: its
tables list what all of them brought. Two at the same time take turns.

A network that is gone is waited for, as long as --timeout says. Files that cannot
be had are listed at the end (exit code 7); the others are there. When a disk is
full it stops (exit code 5); what is whole stays, and with more space the same
command continues. Where the cache is on TARGET's disk, which has no room for
two copies, the cache keeps none.

With --direct TARGET is a DataLad dataset instead: all of its files as links, the
content of those selected in git-annex, for datalad and git-annex to go on with.

EXAMPLES:
   uniharmonyfs get --sub 03286 --suffix T1w ~/t1w
   uniharmonyfs get --sub 03286 --modality anat,func --tmp-clean ~/study
   uniharmonyfs get --sub 03286 --dry-run ~/study
   uniharmonyfs get --sub 03286 --direct ~/dataset`,
		Flags: flags(selectionFlags(), datasetFlags(), generalFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "plain", Usage: "only the files asked for, nothing that comes along"},
			&cli.BoolFlag{Name: "direct", Usage: "make TARGET a DataLad dataset: a clone with the content in git-annex"},
			&cli.BoolFlag{Name: "copy", Usage: "with --direct: real files instead of git-annex's links"},
			&cli.BoolFlag{Name: "tmp-clean", Usage: "drop from the cache what this call brings, but not pinned files"},
			&cli.BoolFlag{Name: "hardlink", Usage: "share the cache's files, read-only, where TARGET is on the same disk"},
			&cli.BoolFlag{Name: "force", Usage: "overwrite files that differ"},
			&cli.BoolFlag{Name: "dry-run", Aliases: []string{"n"}, Usage: "only say what would be done"},
			&cli.IntFlag{Name: "jobs", Aliases: []string{"j"}, Usage: "files at once (default: 16)"},
			&cli.StringFlag{Name: "budget", Usage: "disk space for cached files, kept for later too", Category: catGeneral},
		}),
		Action: runGet,
	}
}

func getRequest(c *cli.Context) (req control.GetRequest, err error) {
	if c.NArg() != 1 {
		return req, usage(fmt.Sprintf("get takes one TARGET directory, not %d", c.NArg()), "for example: uniharmonyfs get --sub 03286 ~/study")
	}
	if n := c.Int("jobs"); n < 0 || n > 64 {
		return req, usage(fmt.Sprintf("--jobs %d is not between 1 and 64", n))
	}
	req = control.GetRequest{
		Plain: c.Bool("plain"), Direct: c.Bool("direct"), Copy: c.Bool("copy"), TmpClean: c.Bool("tmp-clean"), Hardlink: c.Bool("hardlink"),
		Force: c.Bool("force"), DryRun: c.Bool("dry-run"), Jobs: c.Int("jobs"),
	}
	if req.Copy && !req.Direct {
		return req, usage("--copy goes with --direct", "without --direct there are real files only")
	}
	req.Umask = callersUmask()
	if req.Target, err = filepath.Abs(c.Args().First()); err != nil {
		return req, err
	}
	if real, err := filepath.EvalSymlinks(req.Target); err == nil {
		req.Target = real
	}
	if req.Selection, err = selection(c); err != nil {
		return req, err
	}
	if req.Dataset, err = dataset(c); err != nil {
		return req, err
	}
	req.Budget, err = bytesFlag(c, "budget")
	return req, err
}

// getEvents tell a program what happens, one JSON object a line.
type getEvents struct {
	enc   *json.Encoder
	meter meter
}

func (e *getEvents) send(name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	fields := map[string]any{}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return err
	}
	fields["event"] = name
	return e.enc.Encode(fields)
}

func runGet(c *cli.Context) error {
	req, err := getRequest(c)
	if err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	events := &getEvents{enc: json.NewEncoder(c.App.Writer)}
	bar := newProgress(c)
	total := 0
	res, err := client.Get(c.Context, req, func(p control.Plan) error {
		bar.done()
		total = p.Files
		if c.Bool("json") {
			return events.send("plan", p)
		}
		sayPlan(c, p)
		return nil
	}, func(p control.Progress) {
		bar.show(p)
		if c.Bool("json") && p.Phase == control.PhaseGet {
			now := events.meter.next(p, time.Now())
			events.send("progress", map[string]any{
				"done": p.Done, "total": p.Total, "files_done": p.Files, "files": total, "path": p.Text,
				"failed": p.Failed, "speed": now.Speed, "eta": now.ETA,
			})
		}
	})
	bar.done()
	if err != nil {
		return err
	}
	if c.Bool("json") {
		for _, f := range res.Failed {
			events.send("failed", f)
		}
		err = events.send("done", map[string]any{
			"target": res.Target, "files": res.Files, "bytes": res.Bytes,
			"fetched_bytes": res.FetchedBytes, "failed": len(res.Failed), "seconds": res.Seconds,
		})
	} else if !c.Bool("quiet") && !req.DryRun {
		fmt.Fprintf(c.App.Writer, "%s, %s, in %s (%s fetched in %s).\n", count(res.Files, "file"), size(res.Bytes), res.Target, size(res.FetchedBytes), duration(res.Seconds))
	}
	if err != nil {
		return err
	}
	return someFailed(c, res.Failed, total)
}

// sayPlan says what is going to happen before it does.
func sayPlan(c *cli.Context, p control.Plan) {
	if c.Bool("quiet") {
		return
	}
	fmt.Fprintf(os.Stderr, "%s, %s: %d there already, %d to copy, %d to fetch (%s", count(p.Files, "file"), size(p.Bytes), p.ThereFiles, p.CachedFiles, p.FetchFiles, size(p.FetchBytes))
	if p.Seconds > 0 {
		fmt.Fprintf(os.Stderr, ", about %s", duration(p.Seconds))
	}
	fmt.Fprintf(os.Stderr, "); %s free.\n", size(p.FreeBytes))
}

func duration(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
