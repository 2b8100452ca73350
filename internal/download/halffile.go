package download

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/beneath"
)

// A file of a download that is not whole yet has a name of its own, which says
// whose it is: what a killed process left is known and removed.

const tempPrefix = ".uniharmonyfs-"

var tempCount atomic.Int64

// halfFile is a file that is not whole yet.
type halfFile struct {
	in   *beneath.Dir
	name string
	mode fs.FileMode
	time time.Time
}

// newHalfFile names a file in the directory dir of in.
func newHalfFile(in *beneath.Dir, dir string, mode fs.FileMode, t time.Time) halfFile {
	name := fmt.Sprintf("%s%d-%d.part", tempPrefix, os.Getpid(), tempCount.Add(1))
	return halfFile{in, path.Join(dir, name), mode, t}
}

// write makes the file. It is on the disk then: a name that it gets later is
// never one of an empty file, also after a power cut.
func (h halfFile) write(fill func(*os.File) error) error {
	f, err := h.in.Create(h.name, h.mode)
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return h.in.Chtimes(h.name, h.time)
}

// become gives the file its name.
func (h halfFile) become(name string) error { return h.in.Rename(h.name, name) }

// discard removes the file, if it has not become one.
func (h halfFile) discard() { h.in.Remove(h.name) }

// removeStale removes what a killed download left in the directories that
// this one is about.
func (g *get) removeStale() {
	seen := make(map[string]bool)
	for _, n := range g.files {
		dir := path.Dir(g.v.Path(n))
		if seen[dir] {
			continue
		}
		seen[dir] = true
		removeStaleIn(g.target, dir)
	}
	if g.annex != nil {
		removeStaleIn(g.annex, ".")
	}
}

func removeStaleIn(d *beneath.Dir, dir string) {
	names, _ := d.Names(dir) // none when there is no such directory
	for _, name := range names {
		pid, ok := tempOwner(name)
		if ok && (pid == os.Getpid() || !alive(pid)) {
			d.Remove(path.Join(dir, name))
		}
	}
}

// alive reports whether a process is one of this program, and has not ended: a
// killed one stays in the process table until its parent has looked.
func alive(pid int) bool {
	name, _ := processState(os.Getpid())
	other, state := processState(pid)
	return other == name && state != 'Z' && state != 'X'
}

// processState reads a process's name and state (proc_pid_stat(5)); both are
// zero when there is no such process.
func processState(pid int) (name string, state byte) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0
	}
	_, rest, _ := bytes.Cut(stat, []byte("("))
	end := bytes.LastIndexByte(rest, ')')
	if end < 0 || end+2 >= len(rest) {
		return "", 0
	}
	return string(rest[:end]), rest[end+2]
}

func tempOwner(name string) (pid int, ok bool) {
	rest, ok := strings.CutPrefix(name, tempPrefix)
	if !ok || !strings.HasSuffix(rest, ".part") {
		return 0, false
	}
	digits, _, ok := strings.Cut(rest, "-")
	pid, err := strconv.Atoi(digits)
	return pid, ok && err == nil && pid > 0
}
