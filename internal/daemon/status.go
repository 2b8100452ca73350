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
		s.Mounts = append(s.Mounts, m.info())
	}
	slices.SortFunc(s.Mounts, func(a, b control.MountInfo) int { return cmp.Compare(a.Target, b.Target) })
	for _, p := range req.Paths {
		borders := d.notEntered(p)
		s.Paths = append(s.Paths, borders...)
		in, nodes, err := d.inMount(p)
		if len(borders) > 0 && err != nil { // below one of them
			continue
		}
		if err != nil {
			return s, err
		}
		for _, n := range nodes {
			ps := control.PathStatus{File: in.version.Describe(in.shown.view, n), Mount: in.m.target}
			ps.Path = in.pathOf(n)
			for _, e := range s.Store.Errors {
				if e.Key == ps.Key && e.Key != "" && (e.Dataset == "" || slices.Contains(in.version.Datasets(), e.Dataset)) {
					ps.Errors = append(ps.Errors, e)
				}
			}
			s.Paths = append(s.Paths, ps)
		}
	}
	return s, nil
}
