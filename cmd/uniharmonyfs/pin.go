package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/uniharmony/uniharmonyfs/internal/daemon"
)

func pinCommand() *cli.Command {
	return &cli.Command{
		Name:      "pin",
		Usage:     "fetch files and keep them: never evicted, never cleaned",
		ArgsUsage: "[PATH…]",
		Description: `Files are named by paths inside a mount (a directory means all below it), or by
a selection of a dataset.

EXAMPLES:
   uniharmonyfs pin ~/ds004712/sub-03286/ses-NOT1ACH001
   uniharmonyfs pin --sub 03286 --suffix T1w`,
		Flags: flags(selectionFlags(), datasetFlags(), generalFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "no-fetch", Usage: "only keep what will be fetched, fetch nothing now"},
		}),
		Action: func(c *cli.Context) error { return runPin(c, false) },
	}
}

func unpinCommand() *cli.Command {
	return &cli.Command{
		Name:      "unpin",
		Usage:     "let pinned files be evicted and cleaned again",
		ArgsUsage: "[PATH…]",
		Description: `EXAMPLES:
   uniharmonyfs unpin ~/ds004712/sub-03286
   uniharmonyfs unpin --sub 03286`,
		Flags:  flags(selectionFlags(), datasetFlags(), generalFlags()),
		Action: func(c *cli.Context) error { return runPin(c, true) },
	}
}

func runPin(c *cli.Context, unpin bool) error {
	req := daemon.PinRequest{Unpin: unpin, NoFetch: c.Bool("no-fetch")}
	var err error
	if req.Selection, err = selection(c); err != nil {
		return err
	}
	if req.Dataset, err = dataset(c); err != nil {
		return err
	}
	for _, p := range c.Args().Slice() {
		abs, err := mountPath(p)
		if err != nil {
			return err
		}
		req.Paths = append(req.Paths, abs)
	}
	client, err := connectFor(c, req.Paths)
	if err != nil {
		return err
	}
	p := newProgress(c)
	res, err := client.Pin(c.Context, req, p.show)
	p.done()
	if err != nil {
		return err
	}
	if c.Bool("json") {
		if err := writeJSON(c.App.Writer, res); err != nil {
			return err
		}
	} else if !c.Bool("quiet") {
		verb := "Pinned"
		if unpin {
			verb = "Unpinned"
		}
		fmt.Fprintf(c.App.Writer, "%s %s, %s.\n", verb, count(res.Files, "file"), size(res.Bytes))
	}
	return someFailed(c, res.Failed, res.Files)
}

// connectFor reaches the daemon of the mount that the first path lies in, or
// of the command's cache.
func connectFor(c *cli.Context, paths []string) (*daemon.Client, error) {
	if len(paths) > 0 && !c.IsSet("cache") {
		for at := paths[0]; at != "/" && at != "."; at = filepath.Dir(at) {
			dir, found, err := daemon.MountOf(at)
			if err != nil {
				return nil, err
			}
			if found {
				return connectTo(c, dir)
			}
		}
	}
	return connect(c)
}

// someFailed lists the files that failed and makes them the command's error.
func someFailed(c *cli.Context, failed []daemon.FileFailed, of int) error {
	if len(failed) == 0 {
		return nil
	}
	if !c.Bool("json") {
		for _, f := range failed {
			fmt.Fprintf(os.Stderr, "%s: %s\n", printable(f.Path), printable(f.Why))
		}
	}
	return &daemon.Fault{Kind: daemon.Partial, What: fmt.Sprintf("%d of %s failed", len(failed), count(of, "file")), Do: []string{"run the command again: it continues"}}
}
