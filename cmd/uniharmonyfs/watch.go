package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

const watchEvery = 500 * time.Millisecond

// watch shows the status until it is interrupted: on a terminal in place, as
// JSON one object a line.
func watch(c *cli.Context, client *control.Client, req control.StatusRequest) error {
	enc := json.NewEncoder(c.App.Writer)
	screen := term.IsTerminal(int(os.Stdout.Fd())) && !c.Bool("json")
	if screen {
		fmt.Fprint(c.App.Writer, "\x1b[?25l")       // no cursor
		defer fmt.Fprint(c.App.Writer, "\x1b[?25h") // and again
	}
	speeds := make(speeds)
	for {
		s, err := client.Status(c.Context, req)
		if c.Context.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case c.Bool("json"):
			if err := enc.Encode(s); err != nil {
				return err
			}
		default:
			var page bytes.Buffer
			if screen {
				page.WriteString("\x1b[H") // from the top
			}
			writeLive(&page, s, speeds.next(s, time.Now()), width())
			out := page.String()
			if screen {
				// Clear what the last page had more of.
				out = strings.ReplaceAll(out, "\n", "\x1b[K\n") + "\x1b[J"
			}
			io.WriteString(c.App.Writer, out)
		}
		select {
		case <-c.Context.Done():
			return nil
		case <-time.After(watchEvery):
		}
	}
}

func width() int {
	if w, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil && w > 20 {
		return w
	}
	return 100
}

// speeds are those of transfers, in bytes a second, by key: a running mean.
type speeds map[string]speed

type speed struct {
	at   time.Time
	done int64
	rate float64
}

// next takes the transfers of a moment and returns the speeds.
func (m speeds) next(s control.Status, now time.Time) speeds {
	seen := make(map[string]bool)
	for _, t := range s.Store.Transfers {
		seen[t.Key] = true
		was, known := m[t.Key]
		is := speed{at: now, done: t.Done, rate: was.rate}
		if elapsed := now.Sub(was.at).Seconds(); known && elapsed > 0 {
			rate := float64(max(t.Done-was.done, 0)) / elapsed
			is.rate = rate
			if was.rate > 0 {
				is.rate = 0.7*was.rate + 0.3*rate
			}
		}
		m[t.Key] = is
	}
	for key := range m {
		if !seen[key] {
			delete(m, key)
		}
	}
	return m
}

// writeLive is a page of the live view.
func writeLive(w io.Writer, s control.Status, rates speeds, width int) {
	st := s.Store
	fmt.Fprintf(w, "%s  %s\n\n", s.Cache, time.Now().Format(time.TimeOnly))
	bar := max(width-40, 10)
	fmt.Fprintf(w, "budget  [%s] %s of %s\n", gauge(st.Used, st.Reserved, st.Budget, bar), size(st.Used+st.Reserved), size(st.Budget))
	fmt.Fprintf(w, "        %s, %s pinned\n", count(st.Objects, "file"), size(st.Pinned))
	if n := st.Hits + st.Misses; n > 0 {
		fmt.Fprintf(w, "opens   %d, %.0f %% from the cache\n", n, 100*float64(st.Hits)/float64(n))
	}
	waiting, total := 0, 0.0
	for _, t := range st.Transfers {
		waiting += t.Waiters
		total += rates[t.Key].rate
	}
	fmt.Fprintf(w, "now     %s at %s/s, %s waiting\n\n", count(len(st.Transfers), "transfer"), size(int64(total)), count(waiting, "reader"))
	for _, t := range st.Transfers {
		eta := ""
		if r := rates[t.Key].rate; r > 0 {
			eta = duration(float64(t.Total-t.Done) / r)
		}
		fmt.Fprintf(w, "  %3d %%  %9s/s  %6s  %s\n", percent(t.Done, t.Total), strings.ReplaceAll(size(int64(rates[t.Key].rate)), " ", ""), eta, shorten(printable(t.Name), max(width-32, 20)))
	}
	for _, m := range s.Mounts {
		fmt.Fprintf(w, "\n%s  %s, %d cached, %d open", shorten(m.Target, width/2), count(m.Files, "file"), m.Cached, m.OpenFiles)
	}
	if len(s.Mounts) > 0 {
		fmt.Fprintln(w)
	}
	if n := len(st.Errors); n > 0 {
		fmt.Fprintln(w, "\nerrors")
		for _, e := range st.Errors[max(0, n-5):] {
			line := fmt.Sprintf("  %s %s: %s", e.Time.Format(time.TimeOnly), printable(e.Name), printable(e.Text))
			if r := []rune(line); len(r) > width {
				line = string(r[:width-1]) + "…"
			}
			fmt.Fprintln(w, line)
		}
	}
}

func percent(part, of int64) int64 {
	if of <= 0 {
		return 100
	}
	return min(part*100/of, 100)
}

// gauge draws how full the budget is: # used, + reserved.
func gauge(used, reserved, budget int64, width int) string {
	cells := func(n int64) int {
		if budget <= 0 {
			return 0
		}
		return int(min(n*int64(width)/budget, int64(width)))
	}
	u := cells(used)
	r := cells(used+reserved) - u
	return strings.Repeat("#", u) + strings.Repeat("+", r) + strings.Repeat(" ", width-u-r)
}
