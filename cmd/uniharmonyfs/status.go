package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/control"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "what is mounted, cached, under way, and what went wrong",
		ArgsUsage: "[PATH…]",
		Description: `With paths inside a mount: the state of these files, and why the last fetch of
each failed.

EXAMPLES:
   uniharmonyfs status
   uniharmonyfs status ~/ds004712/sub-03286/ses-NOT1ACH001/anat
   uniharmonyfs status --watch
   uniharmonyfs status --json`,
		Flags: flags([]cli.Flag{
			&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "go on showing it until interrupted"},
		}, generalFlags()),
		Action: runStatus,
	}
}

func runStatus(c *cli.Context) error {
	var req control.StatusRequest
	for _, p := range c.Args().Slice() {
		abs, err := mountPath(p)
		if err != nil {
			return err
		}
		req.Paths = append(req.Paths, filepath.Clean(abs))
	}
	dir, err := cacheDir(c)
	if err != nil {
		return err
	}
	if len(req.Paths) == 0 && !dir.Exists() {
		if c.Bool("json") {
			return writeJSON(c.App.Writer, control.Status{Cache: string(dir), Version: programVersion(), Mounts: []control.MountInfo{}})
		}
		fmt.Fprintf(c.App.Writer, "Nothing is mounted, and there is no cache at %s.\n", dir)
		return nil
	}
	client, err := connectFor(c, req.Paths, anyVersion)
	if err != nil {
		return err
	}
	if c.Bool("watch") {
		return watch(c, client, req)
	}
	s, err := client.Status(c.Context, req)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return writeJSON(c.App.Writer, s)
	}
	if len(req.Paths) > 0 {
		writePaths(c.App.Writer, s.Paths)
		return nil
	}
	writeStatus(c.App.Writer, s)
	return nil
}

func writeStatus(w io.Writer, s control.Status) {
	st := s.Store
	fmt.Fprintf(w, "cache      %s\n", s.Cache)
	fmt.Fprintf(w, "used       %s of %s in %s", size(st.Used), size(st.Budget), count(st.Objects, "file"))
	if st.Reserved > 0 {
		fmt.Fprintf(w, ", %s reserved", size(st.Reserved))
	}
	if st.PinnedFiles > 0 {
		fmt.Fprintf(w, ", %s pinned in %s", size(st.Pinned), count(st.PinnedFiles, "file"))
	}
	fmt.Fprintln(w)
	if n := st.Hits + st.Misses; n > 0 {
		fmt.Fprintf(w, "opens      %s, %.0f %% from the cache\n", humanize.Comma(int64(n)), 100*float64(st.Hits)/float64(n))
	}
	for i, m := range s.Mounts {
		head := "mounts"
		if i > 0 {
			head = ""
		}
		if len(m.Catalogs) > 0 {
			fmt.Fprintf(w, "%-10s %s  a folder of %s, %d opened\n", head, m.Target, count(m.Subdatasets, "dataset"), len(m.Opened))
			continue
		}
		fmt.Fprintf(w, "%-10s %s  %s, %s, %d cached; %s at %.12s\n", head, m.Target, count(m.Files, "file"), size(m.Bytes), m.Cached, printable(m.Dataset), m.Commit)
		fmt.Fprintf(w, "%-10s %s\n", "", mode(m))
	}
	if len(s.Mounts) == 0 {
		fmt.Fprintln(w, "mounts     none")
	}
	for i, t := range st.Transfers {
		head := "transfers"
		if i > 0 {
			head = ""
		}
		fmt.Fprintf(w, "%-10s %s  %s of %s, %s waiting, from %s\n", head, printable(t.Name), size(t.Done), size(t.Total), count(t.Waiters, "reader"), printable(t.Source))
		for _, r := range t.Waiting {
			fmt.Fprintf(w, "%-10s   %s\n", "", waiting(r))
		}
		if t.Out != "" {
			fmt.Fprintf(w, "%-10s   no source can be reached: %s\n", "", printable(t.Out))
		}
	}
	const most = 5
	errs := st.Errors
	if len(errs) > most {
		errs = errs[len(errs)-most:]
	}
	for i, e := range errs {
		head := "errors"
		if i > 0 {
			head = ""
		}
		fmt.Fprintf(w, "%-10s %s %s: %s\n", head, e.Time.Format(time.TimeOnly), printable(e.Name), printable(e.Text))
	}
}

// waiting says who waits since when, and how long still.
func waiting(r cache.ReaderStatus) string {
	text := fmt.Sprintf("a reader of %s waits since %s", printable(r.Name), r.Since.Format(time.TimeOnly))
	if !r.Until.IsZero() {
		text += fmt.Sprintf(", at most until %s unless bytes come", r.Until.Format(time.TimeOnly))
	}
	return text
}

// mode says how a mount's files are read.
func mode(m control.MountInfo) string {
	parts := []string{"cached files go through the kernel's page cache"}
	if m.Passthrough {
		parts[0] = "cached files are read by the kernel itself (passthrough)"
	}
	if m.Strict {
		parts = append(parts, "others when they are verified (strict)")
	} else {
		parts = append(parts, "others as they arrive")
	}
	if m.NoReadAhead {
		parts = append(parts, "no read-ahead")
	}
	if m.Prefetching {
		parts = append(parts, "prefetching")
	}
	if m.Writable != "" {
		parts = append(parts, "written files are kept in "+m.Writable)
	}
	return strings.Join(parts, ", ")
}

func writePaths(w io.Writer, paths []control.PathStatus) {
	name := exactUnlessShown(w)
	var rows [][]string
	for _, p := range paths {
		state := string(p.State)
		if p.Pinned {
			state += ",pinned"
		}
		rows = append(rows, []string{state, size(p.Size), name(p.Path)})
	}
	table(w, rows)
	for _, p := range paths {
		for _, e := range p.Errors {
			fmt.Fprintf(w, "%s %s: %s\n", e.Time.Format(time.TimeOnly), printable(p.Path), printable(e.Text))
		}
	}
}
