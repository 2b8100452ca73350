package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/cache"
)

// missing returns the directories that must be made for a target, from the
// target up.
func missing(target string) (dirs []string) {
	for dir := target; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
			break
		}
		dirs = append(dirs, dir)
	}
	return dirs
}

// leave closes the target, and removes it when nothing came of it.
func (g *get) leave() {
	g.target.Close()
	for _, dir := range g.made {
		if os.Remove(dir) != nil {
			return // it holds something
		}
	}
}

// isTight reports whether the target's disk, on which the cache lies too, has
// no room for a download in both. Then the cache keeps nothing of it.
func (d *daemon) isTight(target string, p Plan) bool {
	var a, b syscall.Stat_t
	if syscall.Stat(target, &a) != nil || syscall.Stat(d.dir.objects(), &b) != nil || a.Dev != b.Dev {
		return false
	}
	return p.Bytes-p.ThereBytes+min(p.FetchBytes, d.cache.Budget()) > p.FreeBytes
}

// isDiskFull reports whether a disk is full, not only the cache's budget:
// smaller files may still fit into that.
func isDiskFull(err error) bool {
	return (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)) && !errors.As(err, new(*cache.NoSpaceError))
}
