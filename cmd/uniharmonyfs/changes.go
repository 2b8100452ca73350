package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/uniharmony/uniharmonyfs/internal/job"
	"github.com/uniharmony/uniharmonyfs/internal/upper"
)

func writableFlag() cli.Flag {
	return &cli.StringFlag{Name: "writable", Usage: "keep in `DIR` what is written, changed and deleted in the view; what is below stays as it is", Category: catGeneral}
}

// writableFlags say what is put over a view for one command.
func writableFlags() []cli.Flag {
	return []cli.Flag{
		writableFlag(),
		&cli.GenericFlag{Name: "output", Value: &upper.Given{}, Usage: "a directory to write to, as derivatives/NAME of the view: `NAME=DIR` (may be repeated)", Category: catGeneral},
	}
}

func changesCommand() *cli.Command {
	return &cli.Command{
		Name:      "changes",
		Usage:     "list what was written, changed and deleted with --writable DIR",
		ArgsUsage: "DIR",
		Description: `A line for each file that is not as in the view: what became of it (created, changed
or deleted), and its path. A path that ends in a slash is a new directory with nothing
in it, or one that was deleted with all that was in it. Nothing is fetched.

EXAMPLES:
   uniharmonyfs changes ~/work
   uniharmonyfs changes --json ~/work`,
		Flags:  flags(generalFlags()),
		Action: runChanges,
	}
}

func runChanges(c *cli.Context) error {
	if c.NArg() != 1 {
		return usage("changes takes the DIR of a --writable", "for example: uniharmonyfs changes ~/work")
	}
	record, err := upper.Of(c.Args().First())
	if err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	below, err := job.Below(c.Context, client, record)
	if err != nil && !c.Bool("quiet") {
		fmt.Fprintf(os.Stderr, "hint: files that were replaced are listed as created: what the view had is not known: %s\n", printable(err.Error()))
	}
	changes, err := upper.Changes(c.Args().First(), below)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(c.App.Writer)
	defer out.Flush()
	name, lines := exactUnlessShown(c.App.Writer), json.NewEncoder(out)
	for _, change := range changes {
		if c.Bool("json") {
			err = lines.Encode(change)
		} else {
			_, err = fmt.Fprintf(out, "%s  %s\n", change.What, name(change.Path))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
