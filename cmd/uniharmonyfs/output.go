package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/job"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// size in the units of people: 9.3 GiB.
func size(bytes int64) string { return humanize.IBytes(uint64(max(bytes, 0))) }

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return humanize.Comma(int64(n)) + " " + what
}

// printable replaces what could drive a terminal, or make a line read as
// another: names come from datasets, and errors from servers.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return r
		case unicode.Is(unicode.Cc, r), unicode.Is(unicode.Bidi_Control, r), r == '\u2028', r == '\u2029':
			return '\ufffd'
		}
		return r
	}, s)
}

// exactUnlessShown returns how paths are written: exactly, byte for byte, for a
// program that reads them; as far as they are printable on a terminal.
func exactUnlessShown(out io.Writer) func(string) string {
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return printable
	}
	return func(s string) string { return s }
}

// shellQuote makes a path safe to paste into a shell.
func shellQuote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@:,", r)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// lastWords is the context of what must still be done after a signal.
func lastWords() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 30*time.Second)
}

// progress shows the phases of a long request on a terminal, and nothing
// elsewhere, unless a program asked for it.
type progress struct {
	bar   *progressbar.ProgressBar
	phase control.Phase
	off   bool

	enc   *json.Encoder // of --json-progress
	meter meter
	line  bool // one of moments is there
}

func newProgress(c *cli.Context) *progress {
	p := &progress{off: c.Bool("quiet") || c.Bool("json") || !term.IsTerminal(int(os.Stderr.Fd()))}
	if c.Bool("json-progress") {
		p.enc, p.off = json.NewEncoder(os.Stderr), true
	}
	return p
}

var phases = map[control.Phase]string{
	control.PhaseWait:     "waiting for",
	control.PhaseClone:    "cloning",
	control.PhaseSnapshot: "reading the list of files",
	control.PhaseFetch:    "fetching",
	control.PhasePlan:     "looking at what is there",
	control.PhaseGet:      "downloading",
}

func (p *progress) show(e control.Progress) {
	if p.enc != nil {
		p.enc.Encode(map[string]any{"progress": p.meter.next(e, time.Now())})
	}
	if p.off {
		return
	}
	if p.bar == nil || p.phase != e.Phase {
		p.done()
		total := e.Total
		if total == 0 {
			total = -1
		}
		p.phase = e.Phase
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(os.Stderr),
			progressbar.OptionSetDescription(phases[e.Phase]),
			progressbar.OptionShowBytes(e.Phase == control.PhaseFetch || e.Phase == control.PhaseGet),
			progressbar.OptionShowCount(),
			progressbar.OptionClearOnFinish(),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionFullWidth(),
		)
	}
	if e.Total > 0 {
		p.bar.ChangeMax64(e.Total)
	}
	what := phases[e.Phase]
	if e.Failed > 0 {
		what += fmt.Sprintf(" (%d failed)", e.Failed)
	}
	p.bar.Describe(strings.TrimSpace(what + " " + shorten(printable(e.Text), 40)))
	p.bar.Set64(e.Done)
}

// moments tells what is being done for a command, in a line that is written over again:
// nil where that is not wanted, or nobody would see it.
func (p *progress) moments(c *cli.Context) func(job.Moment) {
	if !c.Bool("progress") || p.off {
		return nil
	}
	return func(m job.Moment) {
		width, _, err := term.GetSize(int(os.Stderr.Fd()))
		if err != nil || width <= 0 {
			width = 80
		}
		p.line = true
		fmt.Fprintf(os.Stderr, "\r\033[K%.*s", width-1, describeMoment(m))
	}
}

func describeMoment(m job.Moment) string {
	s := fmt.Sprintf("%d of %s cached", m.Cached, count(m.Files, "file"))
	if m.Fetching > 0 {
		s += fmt.Sprintf("; fetching %s, %s of %s", count(m.Fetching, "file"), size(m.Done), size(m.Total))
	}
	if m.Waiting > 0 {
		s += fmt.Sprintf("; waiting: %s, for %s", count(m.Waiting, "reader"), printable(path.Base(m.Name)))
	}
	if m.Out != "" {
		s += ": " + printable(m.Out)
	}
	return s
}

func (p *progress) done() {
	if p.line {
		fmt.Fprint(os.Stderr, "\r\033[K")
		p.line = false
	}
	if p.bar != nil {
		p.bar.Finish()
		p.bar.Clear()
		p.bar = nil
	}
}

func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return "…" + string(r[len(r)-n+1:])
	}
	return s
}

// table writes rows in columns of equal width.
func table(w io.Writer, rows [][]string) {
	var widths []int
	for _, r := range rows {
		for i, cell := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, r := range rows {
		var b strings.Builder
		for i, cell := range r {
			fmt.Fprintf(&b, "%-*s  ", widths[i], cell)
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}
