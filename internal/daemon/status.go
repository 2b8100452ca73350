package daemon

import (
	"cmp"
	"context"
	"os"
	"slices"

	"github.com/uniharmony/uniharmonyfs/internal/control"
)

func (d *daemon) status(_ context.Context, req control.StatusRequest, _ *reply) (control.Status, error) {
	s := control.Status{
		Cache: string(d.dir), Version: d.options.Version, PID: os.Getpid(), Since: d.started,
		Mounts: []control.MountInfo{}, Datasets: d.datasets.Names(), Store: d.cache.Status(),
	}
	s.Clones = make([]control.CloneInfo, len(s.Datasets))
	for i, name := range s.Datasets {
		s.Clones[i] = control.CloneInfo{Name: name, Dataset: d.datasets.ClonedFrom(name)}
	}
	for _, m := range d.mounts.all() {
		s.Mounts = append(s.Mounts, m.Info())
	}
	slices.SortFunc(s.Mounts, func(a, b control.MountInfo) int { return cmp.Compare(a.Target, b.Target) })
	for _, p := range req.Paths {
		var borders []control.PathStatus
		if m := d.mounts.with(p); m != nil {
			borders = m.NotEntered(p)
		}
		s.Paths = append(s.Paths, borders...)
		found, err := d.inMount(p)
		if len(borders) > 0 && err != nil { // below one of them
			continue
		}
		if err != nil {
			return s, err
		}
		for _, in := range found {
			for _, n := range in.Nodes {
				s.Paths = append(s.Paths, in.Describe(n, s.Store.Errors))
			}
		}
	}
	return s, nil
}
