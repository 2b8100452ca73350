// Command serve makes a dataset of many images and serves it until killed:
// for shell tests and benchmarks.
//
// It prints one line of JSON: the repository's directory and URL, the commit,
// the number of files and their bytes, and the server's own URL. Then it takes
// commands from standard input, one a line, and answers each with one:
//
//	counts          what was asked for and sent since the last time
//	link 20ms 400Mbit
//	                another round-trip time and rate (0: no limit)
//	gone WORD       answer 404 for content whose path has the word in it
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

type options struct {
	files, sessions   int
	size, rate        string
	rtt               time.Duration
	dir, remote, name string
	urls              string
	dumb, listing     bool
}

func run() error {
	var o options
	flag.IntVar(&o.files, "files", 0, "number of images, about; 0 makes the small demo dataset")
	flag.IntVar(&o.sessions, "sessions", 1, "sessions of each subject")
	flag.StringVar(&o.size, "size", "3.6MB", "of each image")
	flag.StringVar(&o.rate, "rate", "", "of the link, as 400Mbit (a second); empty: no limit")
	flag.DurationVar(&o.rtt, "rtt", 0, "round-trip time of the link")
	flag.StringVar(&o.dir, "dir", "", "where to make the dataset (a new directory)")
	flag.StringVar(&o.remote, "remote", "versioned", "how content is published: versioned, export or web")
	flag.StringVar(&o.name, "name", "bench", "of the dataset")
	flag.StringVar(&o.urls, "urls", "", "write the annexed files' URLs and paths to this `FILE`, as curl's -K reads them")
	flag.BoolVar(&o.dumb, "dumb", false, "serve the repository as plain files")
	flag.BoolVar(&o.listing, "listing", false, "answer paths that end with a slash with a page of links")
	flag.Parse()
	if o.dir == "" || flag.NArg() > 0 {
		return errors.New("usage: serve --dir DIR [flags]; see --help")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A dataset of a million files takes memory: rather less than fast.
	debug.SetGCPercent(50)
	return serve(ctx, o, os.Stdin, os.Stdout)
}

// serve serves until ctx ends.
func serve(ctx context.Context, o options, in io.Reader, out io.Writer) error {
	size, err := bytes(o.size)
	if err != nil {
		return err
	}
	rate, err := bytes(o.rate)
	if err != nil {
		return err
	}
	kind, ok := map[string]maker.Kind{"versioned": maker.Versioned, "export": maker.Export, "web": maker.Web}[o.remote]
	if !ok {
		return fmt.Errorf("no such remote: %q", o.remote)
	}
	s, err := publisher.New(publisher.Options{Link: publisher.Link{RTT: o.rtt, Rate: rate}, DumbGit: o.dumb, Listing: o.listing})
	if err != nil {
		return err
	}
	defer s.Close()
	d := dataset(o, size)
	d.Remotes = []maker.Remote{{Name: "s3-PUBLIC", Kind: kind, URL: s.URL + "/bucket"}}
	m, err := maker.Make(filepath.Join(o.dir, d.Name), d)
	if err != nil {
		return err
	}
	s.Add(m)
	if o.urls != "" {
		if err := writeURLs(o.urls, m); err != nil {
			return err
		}
	}
	err = json.NewEncoder(out).Encode(map[string]any{
		"dataset": m.Dir, "url": s.GitURL(m), "server": s.URL, "commit": m.Commit(),
		"files": len(m.Files), "annexed": m.Annexed(), "bytes": m.Bytes(),
	})
	if err == nil {
		go obey(s, in, out)
		<-ctx.Done()
	}
	return err
}

// obey carries out the commands of in.
func obey(s *publisher.Server, in io.Reader, out io.Writer) {
	enc := json.NewEncoder(out)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 1 && words[0] == "counts":
			c := s.Counts()
			s.ResetCounts()
			enc.Encode(map[string]any{"requests": c.Requests, "bytes": c.Bytes, "connections": c.Connections})
		case len(words) == 3 && words[0] == "link":
			rtt, err := time.ParseDuration(words[1])
			rate, err2 := bytes(words[2])
			if err = errors.Join(err, err2); err == nil {
				s.SetLink(publisher.Link{RTT: rtt, Rate: rate})
				enc.Encode(map[string]any{"rtt": rtt.String(), "rate": rate})
				continue
			}
			enc.Encode(map[string]any{"error": err.Error()})
		case len(words) == 2 && words[0] == "gone":
			gone := publisher.Status(http.StatusNotFound, 0)
			s.SetFault(func(r publisher.Request) publisher.Fault {
				if strings.Contains(r.Path, words[1]) {
					return gone
				}
				return nil
			})
			enc.Encode(map[string]any{"gone": words[1]})
		default:
			enc.Encode(map[string]any{"error": "no such command"})
		}
	}
}

// writeURLs writes where the content of each annexed file is, and the file's
// path.
func writeURLs(name string, m *maker.Made) error {
	var b strings.Builder
	for i := range m.Files {
		if f := &m.Files[i]; f.Annexed {
			fmt.Fprintf(&b, "url = %q\noutput = %q\n", m.URLs(f)[0], f.Path)
		}
	}
	return os.WriteFile(name, []byte(b.String()), 0o644)
}

// dataset returns a dataset of about the wanted number of images: bold runs,
// ten a session.
func dataset(o options, size int64) maker.Dataset {
	if o.files == 0 {
		return demo.Dataset()
	}
	const runs = 10
	sessions := max(1, o.sessions)
	return maker.BIDS(maker.BIDSOptions{
		Name: o.name, Subjects: max(1, (o.files+runs*sessions-1)/(runs*sessions)), Sessions: sessions,
		Runs: min(runs, o.files), Datatypes: []string{"func"}, ImageSize: size,
	})
}

// bytes reads a size as people write it: 4K, 3.6MB, 1MiB, 400Mbit. Letters
// alone and with B mean powers of 1000, with iB powers of 1024, with bit
// eighths of powers of 1000. "" is 0.
func bytes(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	number := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit := s[len(number):]
	base, eighths := 1000.0, 1.0
	switch {
	case strings.HasSuffix(unit, "iB"):
		base, unit = 1024, strings.TrimSuffix(unit, "iB")
	case strings.HasSuffix(unit, "bit"):
		eighths, unit = 8, strings.TrimSuffix(unit, "bit")
	default:
		unit = strings.TrimSuffix(unit, "B")
	}
	n, err := strconv.ParseFloat(number, 64)
	power := strings.Index("KMGT", strings.ToUpper(unit)) + 1
	if err != nil || !(n >= 0 && n < 1<<40) || len(unit) > 1 || power == 0 && unit != "" {
		return 0, fmt.Errorf("not a size: %q", s)
	}
	if unit == "" {
		power = 0
	}
	for range power {
		n *= base
	}
	return int64(n / eighths), nil
}
