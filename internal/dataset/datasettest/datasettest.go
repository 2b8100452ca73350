// Package datasettest is what tests of datasets begin with: a real cache with
// its index, and datasets that a server on this machine publishes.
package datasettest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/index"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/dataset"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// A Cache is a cache in a directory of its own, for the time of a test.
type Cache struct {
	Dir      cachedir.Dir
	Cache    *cache.Cache
	Index    *index.Index
	Datasets *dataset.Registry
	Git      string
	Log      *Log
}

// New makes a cache with a budget in bytes; 0 is the default.
func New(t testing.TB, budget int64) *Cache {
	t.Helper()
	dir := cachedir.Dir(t.TempDir() + "/cache")
	if err := dir.Make(); err != nil {
		t.Fatal(err)
	}
	c := &Cache{Dir: dir, Git: fetch.FindGit(), Log: new(Log)}
	log := slog.New(slog.NewTextHandler(c.Log, nil))
	var err error
	if c.Index, err = index.Open(dir.Index(), index.Options{Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Index.Close(); err != nil {
			t.Error(err)
		}
	})
	if c.Cache, err = cache.Open(string(dir), cache.Options{Budget: budget, Floor: -1, Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Cache.Close(); err != nil {
			t.Error(err)
		}
	})
	c.Datasets = dataset.New(dataset.Options{Dir: dir, Cache: c.Cache, Index: c.Index, Git: c.Git, Log: log, Guard: Guard})
	t.Cleanup(func() {
		if err := c.Datasets.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Guard guards nothing: a panic ends the test.
func Guard(_ string, fn func()) error { fn(); return nil }

// Clones names what lies among the hidden clones.
func (c *Cache) Clones() (names []string) {
	all, _ := os.ReadDir(c.Dir.Datasets())
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

// Publish makes a dataset and serves it with its content, until the test ends.
func Publish(t testing.TB, d maker.Dataset) (*publisher.Server, *maker.Made) {
	t.Helper()
	s, err := publisher.New(publisher.Options{DumbGit: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, PublishAt(t, s, d)
}

// PublishAt makes a dataset and has a server serve it.
func PublishAt(t testing.TB, s *publisher.Server, d maker.Dataset) *maker.Made {
	t.Helper()
	d.Remotes = []maker.Remote{{Name: "s3", Kind: maker.Versioned, URL: s.URL + "/bucket"}}
	m, err := maker.Make(t.TempDir(), d)
	if err != nil {
		t.Fatal(err)
	}
	s.Add(m)
	return m
}

// Super is a superdataset: each member lies at its path, and its repository beside the
// superdataset's, by the last name of the path. One that is nil is nowhere.
func Super(name string, members map[string]*maker.Made, more ...maker.File) maker.Dataset {
	d := maker.Dataset{Name: name, Files: more}
	quoted := strings.NewReplacer("\\", "\\\\", "\"", "\\\"")
	var modules strings.Builder
	for _, at := range slices.Sorted(maps.Keys(members)) {
		commit := strings.Repeat("1", 40)
		if m := members[at]; m != nil {
			commit = m.Commit()
		}
		d.Files = append(d.Files, maker.File{Path: at, Commit: commit})
		fmt.Fprintf(&modules, "[submodule \"%[1]s\"]\n\tpath = \"%[1]s\"\n\turl = \"../%[2]s.git\"\n", quoted.Replace(at), quoted.Replace(path.Base(at)))
	}
	d.Files = append(d.Files, maker.File{Path: ".gitmodules", Data: []byte(modules.String())})
	return d
}

// Free fails the test for each dataset of the cache that somebody holds, and removes the
// others.
func (c *Cache) Free(t testing.TB) {
	t.Helper()
	for _, name := range c.Datasets.Names() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err := c.Datasets.Remove(ctx, name, func(p control.Progress) {
			if p.Phase == control.PhaseWait {
				cancel()
			}
		})
		cancel()
		if err != nil {
			t.Errorf("%s is held: %v", name, err)
		}
	}
}

// Request asks for a published dataset, its content by HTTP.
func Request(s *publisher.Server, m *maker.Made) control.Dataset {
	return control.Dataset{Spec: s.GitURL(m), Fetcher: "native", AllowAddresses: []string{"127.0.0.1"}, Env: os.Environ()}
}

// Content returns the bytes of a published file.
func Content(t testing.TB, m *maker.Made, path string) []byte {
	t.Helper()
	data, err := maker.Bytes(m.Find(path).Content)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A Log can be read while it is written.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Told collects what is told of a request's progress.
type Told struct {
	mu  sync.Mutex
	all []control.Progress
}

// Tell is a bulk.Tell.
func (t *Told) Tell(p control.Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, p)
}

// Of returns what was told of a phase so far.
func (t *Told) Of(phase control.Phase) (all []control.Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.all {
		if p.Phase == phase {
			all = append(all, p)
		}
	}
	return all
}
