package main

import (
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/demo"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "the main job on a small dataset of its own: no network, nothing left behind",
		Description: `Makes a git-annex BIDS dataset (2 subjects, 2 sessions) whose content a server on
this machine's loopback address serves, and runs these commands on it, showing
each: mount, list, read, status, unmount --clean.

EXAMPLES:
   uniharmonyfs demo
   uniharmonyfs demo --keep ~/uniharmonyfs-demo      # try it yourself`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "keep", Usage: "make the dataset in `DIR`, serve it until interrupted, and say how to mount it"},
			&cli.BoolFlag{Name: "json", Usage: "errors as JSON"},
		},
		Action: runDemo,
	}
}

// show runs the commands of the demo and prints them as a person would type
// them.
type show struct {
	out   io.Writer
	self  string
	dir   string
	cache string
}

func runDemo(c *cli.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// Whoever reads what it says may go: it still takes away what it made.
	signal.Ignore(syscall.SIGPIPE)
	dir := c.String("keep")
	if dir == "" {
		if dir, err = os.MkdirTemp("", "uniharmonyfs-demo-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	} else if err := emptyDir(dir); err != nil {
		return err
	}
	d, err := demo.Start(dir)
	if err != nil {
		return fmt.Errorf("making the demo dataset: %w", err)
	}
	defer d.Close()
	s := &show{out: c.App.Writer, self: self, dir: dir, cache: filepath.Join(dir, "cache")}
	s.say("A git-annex BIDS dataset: %s, %s of them annexed; their content (%s) is served at %s",
		count(d.Files, "file"), fmt.Sprint(d.Annexed), size(d.Bytes), d.URL)
	if c.IsSet("keep") {
		return s.wait(c.Context, d)
	}
	err = s.tour(c.Context, d)
	if err != nil {
		// Whatever failed, nothing stays mounted.
		ctx, cancel := lastWords()
		defer cancel()
		s.command(ctx, "unmount", "--quiet", "--force", "--clean", s.target()).Run()
		return err
	}
	s.say("Done. Nothing is left behind.")
	return nil
}

func emptyDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		return usage(dir+" is not empty", "choose an empty or new directory")
	}
	return err
}

func (s *show) target() string { return filepath.Join(s.dir, "my_dataset") }

func (s *show) wait(ctx context.Context, d *demo.Demo) error {
	s.say("Mount it from another terminal with:\n  %s mount --dataset %s --allow-address 127.0.0.1 --sub 01 TARGET\nCtrl-C ends the server.",
		shellQuote(s.self), shellQuote(d.Repository))
	<-ctx.Done()
	return nil
}

// tour is the main job. Its steps are the ones of the README.
func (s *show) tour(ctx context.Context, d *demo.Demo) error {
	target := s.target()
	image := d.Image
	steps := []func() error{
		func() error {
			s.say("\nMount one subject's anatomical and functional data. Nothing is downloaded:")
			return s.run(ctx, "mount", "--dataset", d.Repository, "--allow-address", "127.0.0.1", "--sub", "01", "--modality", "anat,func", target)
		},
		func() error {
			s.say("\nThe mount is a folder of plain files, and a valid BIDS dataset:")
			return s.tree(target)
		},
		func() error {
			s.say("\nReading a file fetches it, checks it against its git-annex key, and serves it:")
			return s.readImage(filepath.Join(target, image))
		},
		func() error {
			s.say("\nWhat is here, and what would have to be fetched:")
			return s.run(ctx, "list", "--dataset", d.Repository, "--sub", "01", "--suffix", "T1w", "-l", "--root-files", "none")
		},
		func() error {
			s.say("\nThe state of the cache:")
			return s.run(ctx, "status")
		},
		func() error {
			s.say("\nUnmount and leave nothing behind:")
			return s.run(ctx, "unmount", "--clean", target)
		},
		func() error {
			if _, err := os.Stat(s.cache); !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("the cache %s is still there", s.cache)
			}
			return nil
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (s *show) say(format string, a ...any) { fmt.Fprintf(s.out, format+"\n", a...) }

func (s *show) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.self, args...)
	cmd.Env = append(os.Environ(), "UNIHARMONYFS_CACHE="+s.cache)
	cmd.Stdout, cmd.Stderr = s.out, os.Stderr
	return cmd
}

// run runs this program as a person would, so that what is shown is what
// happens.
func (s *show) run(ctx context.Context, args ...string) error {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = shellQuote(a)
	}
	s.say("$ uniharmonyfs %s", strings.Join(quoted, " "))
	if err := s.command(ctx, args...).Run(); err != nil {
		return &advice.Error{Kind: advice.Failed, What: "this step of the demo failed", Why: err.Error(), Do: []string{"uniharmonyfs doctor tells what this system lacks"}}
	}
	return nil
}

func (s *show) tree(root string) error {
	s.say("$ find %s -type f | sort", shellQuote(root))
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			s.say("%9s  %s", size(info.Size()), path)
		}
		return err
	})
}

// readImage reads a whole NIfTI image and shows its header.
func (s *show) readImage(path string) error {
	s.say("$ gunzip -c %s | head -c 348", shellQuote(path))
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	var head [348]byte
	if _, err := io.ReadFull(z, head[:]); err != nil {
		return err
	}
	var dims []string
	for i := range int(binary.LittleEndian.Uint16(head[40:])) {
		dims = append(dims, fmt.Sprint(binary.LittleEndian.Uint16(head[42+2*i:])))
	}
	rest, err := io.Copy(io.Discard, z)
	if err != nil {
		return err
	}
	s.say("a NIfTI image of %s voxels, %s of data", strings.Join(dims, " × "), size(rest))
	return nil
}
