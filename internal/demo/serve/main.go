// Command serve makes a dataset of many images and serves it until killed:
// for shell tests and benchmarks.
//
// It prints one line of JSON: the repository's directory and URL, the commit,
// the number of files and their bytes, and the server's own URL.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
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
	dumb              bool
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
	flag.BoolVar(&o.dumb, "dumb", false, "serve the repository as plain files")
	flag.Parse()
	if o.dir == "" || flag.NArg() > 0 {
		return errors.New("usage: serve --dir DIR [flags]; see --help")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A dataset of a million files takes memory: rather less than fast.
	debug.SetGCPercent(50)
	return serve(ctx, o, os.Stdout)
}

// serve serves until ctx ends.
func serve(ctx context.Context, o options, out io.Writer) error {
	size, err := bytes(o.size)
	if err != nil {
		return err
	}
	rate, err := bytes(o.rate)
	if err != nil {
		return err
	}
	kind, ok := map[string]demo.Kind{"versioned": demo.Versioned, "export": demo.Export, "web": demo.Web}[o.remote]
	if !ok {
		return fmt.Errorf("no such remote: %q", o.remote)
	}
	s, err := demo.NewServer(demo.ServerOptions{Link: demo.Link{RTT: o.rtt, Rate: rate}, DumbGit: o.dumb})
	if err != nil {
		return err
	}
	defer s.Close()
	d := dataset(o, size)
	d.Remotes = []demo.Remote{{Name: "s3-PUBLIC", Kind: kind, URL: s.URL + "/bucket"}}
	m, err := demo.Make(filepath.Join(o.dir, d.Name), d)
	if err != nil {
		return err
	}
	s.Add(m)
	err = json.NewEncoder(out).Encode(map[string]any{
		"dataset": m.Dir, "url": s.GitURL(m), "server": s.URL, "commit": m.Commit(),
		"files": len(m.Files), "annexed": m.Annexed(), "bytes": m.Bytes(),
	})
	if err == nil {
		<-ctx.Done()
	}
	return err
}

// dataset returns a dataset of about the wanted number of images: bold runs,
// ten a session.
func dataset(o options, size int64) demo.Dataset {
	if o.files == 0 {
		return demo.DemoDataset()
	}
	const runs = 10
	sessions := max(1, o.sessions)
	return demo.BIDS(demo.BIDSOptions{
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
