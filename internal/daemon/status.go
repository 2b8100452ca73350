package daemon

import (
	"cmp"
	"context"
	"os"
	"slices"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache"
)

// Status is the state of a cache and of what is mounted from it.
type Status struct {
	Cache    string       `json:"cache"`
	Version  string       `json:"version"`
	PID      int          `json:"pid"`
	Since    time.Time    `json:"since"`
	Mounts   []MountInfo  `json:"mounts"`
	Datasets []string     `json:"datasets"` // hidden clones
	Store    cache.Status `json:"store"`
	Paths    []PathStatus `json:"paths,omitempty"`
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
				if e.Key == ps.Key && e.Key != "" {
					ps.Errors = append(ps.Errors, e)
				}
			}
			s.Paths = append(s.Paths, ps)
		}
	}
	return s, nil
}
