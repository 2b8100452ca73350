package job

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/place"
)

// Program is the path of this one, also in containers that have no /proc.
func Program() (string, error) {
	path, err := os.Executable()
	if err == nil {
		return path, nil
	}
	if path, err = exec.LookPath(os.Args[0]); err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// Connect is [control.Connect], with this program for the daemon.
func Connect(ctx context.Context, cache cachedir.Dir, version string, fit control.Fit) (*control.Client, error) {
	self, err := Program()
	if err != nil {
		return nil, err
	}
	return control.Connect(ctx, cache, version, fit, func() *exec.Cmd {
		return exec.Command(self, "daemon", "--cache", string(cache))
	})
}

// ConnectHere is Connect for what is mounted: the daemon must not be where its mounts are
// not seen here, nor go before them.
func ConnectHere(ctx context.Context, cache cachedir.Dir, version string) (*control.Client, error) {
	here := place.Here()
	return Connect(ctx, cache, version, func(at place.Place) string { return at.MayGo(here) })
}

// connect reaches the daemon of a view that goes with this process: that of the cache, if
// it is of the same host, namespaces and job, else one of this process's own in the room,
// which borrows what the other's cache has.
func (o Options) connect(ctx context.Context, room *Room) (client *control.Client, own bool, err error) {
	here := place.Here()
	client, err = Connect(ctx, o.Cache, o.Version, func(at place.Place) string { return at.Apart(here) })
	var elsewhere *control.ElsewhereError
	if !errors.As(err, &elsewhere) {
		return client, false, err
	}
	self, err := Program()
	if err != nil {
		return nil, false, err
	}
	if err := room.Make(); err != nil {
		return nil, false, err
	}
	o.Elsewhere(elsewhere)
	client, err = room.StartDaemon(ctx, o.Version, func(cache cachedir.Dir) *exec.Cmd {
		return exec.Command(self, "daemon", "--cache", string(cache), "--temporary", "--lender", string(o.Cache))
	})
	return client, true, err
}
