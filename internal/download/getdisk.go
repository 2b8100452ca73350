package download

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// realTarget returns a target without the links on the way to it, some of
// which may not be there yet.
func realTarget(target string) (string, error) {
	what := "cannot download into " + target
	if !filepath.IsAbs(target) {
		return "", advice.New(advice.Usage, what, errors.New("it is no absolute path"), "name it from the root on")
	}
	target = filepath.Clean(target)
	there := target
	for _, err := os.Lstat(there); err != nil && there != "/"; _, err = os.Lstat(there) {
		there = filepath.Dir(there)
	}
	if real, err := filepath.EvalSymlinks(there); err == nil {
		target = filepath.Join(real, strings.TrimPrefix(target, there))
	}
	for part := range strings.SplitSeq(target, "/") {
		if tree.IsDotGit(part) {
			return "", advice.New(advice.Usage, what, errors.New("it lies inside a git repository's own directory"), "choose a target elsewhere")
		}
	}
	return target, nil
}

// leave closes the target, and removes it when nothing came of it.
func (g *get) leave() {
	defer g.v.Release()
	g.target.Close()
	if g.annex != nil {
		g.annex.Close()
	}
	for _, dir := range g.made {
		if os.Remove(dir) != nil {
			return // it holds something
		}
	}
}

// isTight reports whether the target's disk, on which the cache lies too, has
// no room for a download in both. Then the cache keeps nothing of it.
func (d *Downloads) isTight(target string, p control.Plan) bool {
	var a, b syscall.Stat_t
	if syscall.Stat(target, &a) != nil || syscall.Stat(d.Dir.Objects(), &b) != nil || a.Dev != b.Dev {
		return false
	}
	return p.Bytes-p.ThereBytes+min(p.FetchBytes, d.Cache.Budget()) > p.FreeBytes
}

// isDiskFull reports whether a disk is full, not only the cache's budget:
// smaller files may still fit into that.
func isDiskFull(err error) bool {
	return (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)) && !errors.As(err, new(*cache.NoSpaceError))
}
