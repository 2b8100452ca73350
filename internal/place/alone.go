package place

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// initialUser is the user namespace that the kernel begins with (include/linux/proc_ns.h).
const initialUser = "user:[4026531837]"

// IsAlone reports whether this process's mount namespace was made for something that is
// over: nobody is in it but this process and what it has started. What cannot be looked
// at counts as there.
func IsAlone() bool {
	mine, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return false
	}
	if !isMade(mine) {
		return false
	}
	parents, self := make(map[int]int), os.Getpid()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return false
	}
	var in []int
	for _, path := range stats {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		parents[pid] = parentOf(path)
		if theirs, err := os.Readlink(filepath.Join(filepath.Dir(path), "ns", "mnt")); err == nil && theirs == mine {
			in = append(in, pid)
		}
	}
	for _, pid := range in {
		for pid > 0 && pid != self {
			pid = parents[pid]
		}
		if pid != self {
			return false
		}
	}
	return true
}

// isMade reports whether a mount namespace, which this process is in, is known not to be
// the one that all begins with: of the first process, and of the kernel's own.
func isMade(ns string) bool {
	known := false
	for _, pid := range []string{"1", "2"} {
		if name, _ := os.ReadFile("/proc/" + pid + "/comm"); pid == "2" && string(name) != "kthreadd\n" {
			continue
		}
		if theirs, err := os.Readlink("/proc/" + pid + "/ns/mnt"); err == nil {
			if theirs == ns {
				return false
			}
			known = true
		}
	}
	if known {
		return true
	}
	// Users may look at neither. One in a user namespace that was made may look at all who
	// can be in this one.
	user, err := os.Readlink("/proc/self/ns/user")
	return err == nil && user != initialUser
}

// parentOf reads proc_pid_stat(5), whose second field may hold anything.
func parentOf(path string) int {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	f := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
	if len(f) < 2 {
		return 0
	}
	pid, _ := strconv.Atoi(string(f[1]))
	return pid
}
