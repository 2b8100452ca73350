package main

import (
	"fmt"

	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/urfave/cli/v2"
)

func cleanCommand() *cli.Command {
	return &cli.Command{
		Name:      "clean",
		Usage:     "remove hidden clones and what was cached through them",
		ArgsUsage: "[NAME…]",
		Description: `Only what uniharmonyfs made is removed, and nothing that is mounted. Pinned
files stay unless --pins is given.

EXAMPLES:
   uniharmonyfs clean ds004712
   uniharmonyfs clean --all
   uniharmonyfs clean --all --pins`,
		Flags: flags([]cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "the whole cache"},
			&cli.BoolFlag{Name: "pins", Usage: "pinned files too"},
		}, generalFlags()),
		Action: runClean,
	}
}

func runClean(c *cli.Context) error {
	if (c.NArg() == 0) != c.Bool("all") {
		return usage("clean takes either the NAMEs of datasets, or --all", "see which there are with: uniharmonyfs status --json")
	}
	if c.Bool("pins") && !c.Bool("all") {
		return usage("--pins goes with --all", "or unpin files with: uniharmonyfs unpin")
	}
	dir, err := cacheDir(c)
	if err != nil {
		return err
	}
	if !dir.Exists() {
		if c.Bool("json") {
			return writeJSON(c.App.Writer, control.CleanResult{Datasets: []string{}})
		}
		fmt.Fprintf(c.App.Writer, "Nothing to clean: there is no cache at %s.\n", dir)
		return nil
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	res, err := client.Clean(c.Context, control.CleanRequest{Names: c.Args().Slice(), All: c.Bool("all"), Pins: c.Bool("pins")})
	if err != nil {
		return err
	}
	switch {
	case c.Bool("json"):
		return writeJSON(c.App.Writer, res)
	case c.Bool("quiet"):
	case res.Removed:
		fmt.Fprintf(c.App.Writer, "Removed the cache %s: %s, %s.\n", dir, count(res.Files, "file"), size(res.Bytes))
	default:
		fmt.Fprintf(c.App.Writer, "Removed %s and %s, %s.", count(len(res.Datasets), "hidden clone"), count(res.Files, "file"), size(res.Bytes))
		if res.Pinned > 0 {
			fmt.Fprintf(c.App.Writer, " %s stay pinned.", size(res.Pinned))
		}
		fmt.Fprintln(c.App.Writer)
	}
	return nil
}
