package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/internal/control"
)

func listCommand() *cli.Command {
	return &cli.Command{
		Name:    "list",
		Aliases: []string{"ls"},
		Usage:   "list the files of a selection; no data is fetched",
		Description: `One path a line, relative to the dataset's root, in byte order: what a mount
would show, or with --plain exactly what matches. Only sidecars and tables that
git-annex holds, and the selection depends on, are fetched.

A program gets paths exactly as they are; on a terminal, what is not printable in
them is replaced. With --json a path that is not UTF-8 is exact in path_base64.

EXAMPLES:
   uniharmonyfs list --sub 03286
   uniharmonyfs list --sub 03286 --suffix T1w -l
   uniharmonyfs list --modality dwi --count
   uniharmonyfs list --suffix bold --ext .nii.gz --plain   # the images alone
   uniharmonyfs list --dataset ds000001 --missing --json
   uniharmonyfs list --where 'age > 40 and sex == "F"' --suffix T1w
   uniharmonyfs list --facets
   uniharmonyfs list --sub 03286 --modality func --explain sub-03286/ses-NOT1ACH001/fmap/sub-03286_ses-NOT1ACH001_dir-AP_epi.nii.gz`,
		Flags: flags(selectionFlags(), datasetFlags(), generalFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "long", Aliases: []string{"l"}, Usage: "with size and state"},
			&cli.BoolFlag{Name: "tree", Usage: "as a tree of directories"},
			&cli.BoolFlag{Name: "count", Usage: "only how many files and bytes"},
			&cli.BoolFlag{Name: "plain", Usage: "only what matches the selection, nothing that comes along"},
			&cli.BoolFlag{Name: "cached", Usage: "only files whose content is here"},
			&cli.BoolFlag{Name: "missing", Usage: "only files whose content would have to be fetched"},
			&cli.StringSliceFlag{Name: "explain", Usage: "instead: why `PATH` is in the selection's view, or not"},
			&cli.BoolFlag{Name: "facets", Usage: "instead: what there is to select by, among the selection's files, with their number and size"},
			&cli.BoolFlag{Name: "print0", Aliases: []string{"0"}, Usage: "end paths with NUL instead of a newline"},
		}),
		Action: runList,
	}
}

func runList(c *cli.Context) error {
	if c.NArg() > 0 {
		return usage(fmt.Sprintf("list takes no arguments (%q)", c.Args().First()), "choose files by selection, for example --sub 01")
	}
	if c.Bool("cached") && c.Bool("missing") {
		return usage("--cached and --missing exclude each other")
	}
	var req control.ListRequest
	var err error
	if req.Selection, err = selection(c); err != nil {
		return err
	}
	if req.Dataset, err = dataset(c); err != nil {
		return err
	}
	req.Explain, req.Facets, req.Plain = c.StringSlice("explain"), c.Bool("facets"), c.Bool("plain")
	if req.Plain && (req.Facets || len(req.Explain) > 0) {
		return usage("--plain chooses which files are listed, and --facets and --explain list none")
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(c.App.Writer, 1<<16)
	defer out.Flush()
	p := newProgress(c)
	defer p.done()
	files, bytes := 0, int64(0)
	print := printer(c, out)
	res, err := client.List(c.Context, req, p.show, func(f control.File) error {
		here := f.Here()
		if (c.Bool("cached") && !here) || (c.Bool("missing") && here) {
			return nil
		}
		p.done()
		files, bytes = files+1, bytes+f.Size
		if c.Bool("count") {
			return nil
		}
		return print(f)
	})
	if err != nil {
		return err
	}
	if req.Facets || len(req.Explain) > 0 {
		p.done()
		return writeDescribed(c, out, res)
	}
	if c.Bool("count") {
		if c.Bool("json") {
			return writeJSON(out, map[string]any{"files": files, "bytes": bytes})
		}
		fmt.Fprintf(out, "%d files, %d bytes (%s)\n", files, bytes, size(bytes))
	}
	if !c.Bool("quiet") && !c.Bool("json") {
		for _, h := range res.Hints {
			fmt.Fprintf(os.Stderr, "hint: %s\n", printable(h))
		}
	}
	return nil
}

// printer writes one file in the format that was asked for.
func printer(c *cli.Context, out *bufio.Writer) func(control.File) error {
	name := exactUnlessShown(c.App.Writer)
	switch {
	case c.Bool("json"):
		enc := json.NewEncoder(out)
		return func(f control.File) error { return enc.Encode(f) }
	case c.Bool("long"):
		return func(f control.File) error {
			state := string(f.State)
			if f.Pinned {
				state += ",pinned"
			}
			_, err := fmt.Fprintf(out, "%9s  %-14s %s\n", size(f.Size), state, name(f.Path))
			return err
		}
	case c.Bool("tree"):
		return treePrinter(out)
	case c.Bool("print0"):
		return func(f control.File) error {
			_, err := out.WriteString(f.Path + "\x00")
			return err
		}
	}
	return func(f control.File) error {
		_, err := out.WriteString(name(f.Path) + "\n")
		return err
	}
}

// writeDescribed writes what a list says instead of files.
func writeDescribed(c *cli.Context, out *bufio.Writer, res control.ListResult) error {
	if c.Bool("json") {
		return writeJSON(out, map[string]any{"explained": res.Explained, "facets": res.Facets})
	}
	for _, e := range res.Explained {
		shown := "not shown"
		if e.Shown {
			shown = "shown"
		}
		fmt.Fprintf(out, "%s: %s: %s\n", printable(e.Path), shown, printable(e.Why))
	}
	of := ""
	var rows [][]string
	for _, f := range res.Facets {
		if f.Table != of {
			table(out, rows)
			rows, of = nil, f.Table
			fmt.Fprintf(out, "\ncolumns of %s.tsv, for --where\n", of)
		}
		rows = append(rows, facetRows(f)...)
	}
	table(out, rows)
	return nil
}

// maxValues is how many values of a column are shown: some are measurements,
// of which every file has its own. --json has them all.
const maxValues = 25

func facetRows(f bids.Facet) (rows [][]string) {
	values, more := f.Values, 0
	if f.Table != "" && len(values) > maxValues+1 {
		values, more = values[:maxValues], len(values)-maxValues
	}
	name := printable(f.Name)
	for _, v := range values {
		rows = append(rows, []string{name, printable(v.Value), count(v.Files, "file"), size(v.Bytes)})
		name = ""
	}
	if more > 0 {
		last := f.Values[len(f.Values)-1].Value
		rows = append(rows, []string{"", fmt.Sprintf("… %d more, up to %s", more, printable(last)), "", ""})
	}
	if f.More > 0 {
		rows = append(rows, []string{"", "… still others", count(f.More, "file"), ""})
	}
	return rows
}
