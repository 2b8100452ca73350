package daemon

import (
	"cmp"
	"context"
	"os"
	"slices"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/fetch"
)

// Status is the state of a cache and of what is mounted from it.
type Status struct {
	Cache    string       `json:"cache"`
	Version  string       `json:"version"`
	PID      int          `json:"pid"`
	Since    time.Time    `json:"since"`
	Mounts   []MountInfo  `json:"mounts"`
	Datasets []string     `json:"datasets"` // hidden clones
	Clones   []CloneInfo  `json:"clones"`   // the same, with what they are of
	Store    cache.Status `json:"store"`
	Paths    []PathStatus `json:"paths,omitempty"`
}

// CloneInfo describes a hidden clone.
type CloneInfo struct {
	Name    string `json:"name"`
	Dataset string `json:"dataset,omitempty"`
}

// PathStatus is the state of one file inside a mount.
type PathStatus struct {
	File
	Mount  string        `json:"mount"`
	Errors []cache.Event `json:"errors,omitempty"` // newest last
}

func (d *daemon) status(_ context.Context, req StatusRequest, _ *reply) (Status, error) {
	s := Status{
		Cache: string(d.dir), Version: d.options.Version, PID: os.Getpid(), Since: d.started,
		Mounts: []MountInfo{}, Datasets: d.hiddenClones(), Store: d.cache.Status(),
	}
	s.Clones = make([]CloneInfo, len(s.Datasets))
	for i, name := range s.Datasets {
		s.Clones[i] = CloneInfo{name, fetch.ClonedFrom(d.cloneDir(name))}
	}
	for _, m := range d.mountList() {
		s.Mounts = append(s.Mounts, m.info())
	}
	slices.SortFunc(s.Mounts, func(a, b MountInfo) int { return cmp.Compare(a.Target, b.Target) })
	for _, p := range req.Paths {
		m, nodes, err := d.inMount(p)
		if err != nil {
			return s, err
		}
		for _, n := range nodes {
			ps := PathStatus{File: d.describe(m.version, m.view, n), Mount: m.target}
			for _, e := range s.Store.Errors {
				if e.Key == ps.Key && e.Key != "" && (e.Dataset == "" || e.Dataset == m.version.name) {
					ps.Errors = append(ps.Errors, e)
				}
			}
			s.Paths = append(s.Paths, ps)
		}
	}
	return s, nil
}
