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

// ConnectOwn reaches the daemon of a view that goes with this process: that of the cache,
// if it is of the same host, namespaces and job, else one of this process's own, which
// borrows what the other's cache has; that is told. The calling goroutine is locked to its
// thread. end ends what was begun here; nothing is mounted then.
func ConnectOwn(ctx context.Context, cache cachedir.Dir, version string, room *Room, tell func(*control.ElsewhereError)) (client *control.Client, end func() error, err error) {
	here := place.Here()
	client, err = Connect(ctx, cache, version, func(at place.Place) string { return at.Apart(here) })
	var elsewhere *control.ElsewhereError
	if !errors.As(err, &elsewhere) {
		return client, room.Close, err
	}
	self, err := Program()
	if err != nil {
		return nil, room.Close, err
	}
	if err := room.Make(); err != nil {
		return nil, room.Close, err
	}
	tell(elsewhere)
	client, err = room.startDaemon(ctx, version, func(own cachedir.Dir) *exec.Cmd {
		args := []string{"daemon", "--cache", string(own), "--temporary", "--lender", string(cache)}
		for _, dir := range room.Directories() {
			args = append(args, "--remove", dir)
		}
		return exec.Command(self, args...)
	})
	return client, room.Close, err
}
