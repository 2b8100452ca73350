package gitstore

import (
	"slices"
	"sync"
)

// maxIdleInAll bounds the children of all stores that wait for work: whoever looks
// through hundreds of datasets does not leave as many processes.
const maxIdleInAll = 16

// idleChild is a child that waits for work.
type idleChild struct {
	store *git
	bare  bool
	c     *child
}

// idleChildren are those of all stores, the longest idle first. Its lock is a leaf.
type idleChildren struct {
	mu  sync.Mutex
	all []idleChild
}

var idles idleChildren

// add takes note of one, and returns those that are too many.
func (l *idleChildren) add(one idleChild) (tooMany []idleChild) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, one)
	n := max(len(l.all)-maxIdleInAll, 0)
	tooMany = slices.Clone(l.all[:n])
	l.all = slices.Delete(l.all, 0, n)
	return tooMany
}

// remove takes note that children have work, or have ended.
func (l *idleChildren) remove(some ...*child) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = slices.DeleteFunc(l.all, func(i idleChild) bool { return slices.Contains(some, i.c) })
}
