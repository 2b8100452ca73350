package daemon

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
)

// A file of a download that is not whole yet has a name of its own, which says
// whose it is: what a killed process left is known and removed.

const tempPrefix = ".uniharmonyfs-"

var tempCount atomic.Int64

// tempName is the name of a file that is not whole yet; it says whose it is.
func tempName() string {
	return fmt.Sprintf("%s%d-%d.part", tempPrefix, os.Getpid(), tempCount.Add(1))
}

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
		entries, err := fs.ReadDir(g.target.FS(), dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			pid, ok := tempOwner(e.Name())
			if ok && (pid == os.Getpid() || !alive(pid)) {
				g.target.Remove(filepath.Join(dir, e.Name()))
			}
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
