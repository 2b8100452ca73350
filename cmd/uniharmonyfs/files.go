package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/control"
)

// onFiles makes a command that does something with files, which are named by
// paths inside a mount or by a selection.
func onFiles(do control.Action, usage, description string, extra ...cli.Flag) *cli.Command {
	return &cli.Command{
		Name:      string(do),
		Usage:     usage,
		ArgsUsage: "[PATH…]",
		Description: `Files are named by paths inside a mount (a directory means all below it, of
subdatasets what somebody has looked into), or by a selection of a dataset. ` + description,
		Flags:  flags(selectionFlags(), datasetFlags(), generalFlags(), extra),
		Action: func(c *cli.Context) error { return runOnFiles(c, do) },
	}
}

func pinCommand() *cli.Command {
	return onFiles(control.Pin, "fetch files and keep them: never evicted, never cleaned", `

EXAMPLES:
   uniharmonyfs pin ~/ds004712/sub-03286/ses-NOT1ACH001
   uniharmonyfs pin --sub 03286 --suffix T1w`,
		&cli.BoolFlag{Name: "no-fetch", Usage: "only keep what will be fetched, fetch nothing now"})
}

func unpinCommand() *cli.Command {
	return onFiles(control.Unpin, "let pinned files be evicted and cleaned again", `

EXAMPLES:
   uniharmonyfs unpin ~/ds004712/sub-03286
   uniharmonyfs unpin --sub 03286`)
}

func prefetchCommand() *cli.Command {
	return onFiles(control.Prefetch, "fetch files into the cache, before they are read", `

EXAMPLES:
   uniharmonyfs prefetch ~/ds004712/sub-03286/ses-NOT1ACH001/anat
   uniharmonyfs prefetch --sub 03286 --modality func`)
}

func evictCommand() *cli.Command {
	return onFiles(control.Evict, "drop files from the cache now, but not pinned or open ones", `

EXAMPLES:
   uniharmonyfs evict ~/ds004712/sub-03286/ses-NOT1ACH001/swi
   uniharmonyfs evict --sub 03286 --modality swi`)
}

func verifyCommand() *cli.Command {
	return onFiles(control.Verify, "hash cached files again and remove damaged ones", `
Damaged files are removed and fetched again when they are read; --repair
fetches them at once.

EXAMPLES:
   uniharmonyfs verify --sub 03286
   uniharmonyfs verify --repair ~/ds004712`,
		&cli.BoolFlag{Name: "repair", Usage: "fetch damaged files again"})
}

// said are the words for what was done.
var said = map[control.Action]string{
	control.Pin: "Pinned", control.Unpin: "Unpinned", control.Prefetch: "Fetched", control.Evict: "Dropped", control.Verify: "Verified",
}

func runOnFiles(c *cli.Context, do control.Action) error {
	req := control.FilesRequest{Do: do, NoFetch: c.Bool("no-fetch"), Repair: c.Bool("repair")}
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
	client, err := connectFor(c, req.Paths, programVersion())
	if err != nil {
		return err
	}
	p := newProgress(c)
	res, err := client.Files(c.Context, req, p.show)
	p.done()
	if err != nil {
		return err
	}
	if c.Bool("json") {
		if err := writeJSON(c.App.Writer, res); err != nil {
			return err
		}
	} else if !c.Bool("quiet") {
		fmt.Fprintf(c.App.Writer, "%s %s, %s.\n", said[do], count(res.Files-len(res.Failed), "file"), size(res.Bytes))
		if res.Repaired > 0 {
			fmt.Fprintf(c.App.Writer, "Of them %s had been damaged, and %s fetched again. What is open since before is to be closed and opened again.\n", count(res.Repaired, "file"), wasWere(res.Repaired))
		}
	}
	return someFailed(c, res.Failed, res.Files)
}

func wasWere(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

// connectFor reaches the daemon of the mount that the first path lies in, or
// of the command's cache.
func connectFor(c *cli.Context, paths []string, version string) (*control.Client, error) {
	if len(paths) > 0 && !c.IsSet("cache") {
		for at := paths[0]; at != "/" && at != "."; at = filepath.Dir(at) {
			dir, found, err := control.MountOf(at)
			if err != nil {
				return nil, err
			}
			if found {
				return connectTo(c, dir, version)
			}
		}
	}
	dir, err := cacheDir(c)
	if err != nil {
		return nil, err
	}
	return connectTo(c, dir, version)
}

// someFailed lists the files that failed and makes them the command's error.
func someFailed(c *cli.Context, failed []control.FileFailed, of int) error {
	if len(failed) == 0 {
		return nil
	}
	if !c.Bool("json") {
		for _, f := range failed {
			fmt.Fprintf(os.Stderr, "%s: %s\n", printable(f.Path), printable(f.Why))
		}
	}
	reasons := make([]string, len(failed))
	for i, f := range failed {
		reasons[i] = f.Why
	}
	return &advice.Error{
		Kind: advice.Partial, What: fmt.Sprintf("%d of %s failed", len(failed), count(of, "file")),
		Do: append(fetch.ContentAdvice(reasons), "run the command again: it continues"),
	}
}
