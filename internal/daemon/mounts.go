package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/mount"
)

// mounts are those of a daemon, and the requests for some. Lock order: changing,
// forgetting, then mu, which is a leaf.
type mounts struct {
	changing   sync.Mutex // held while something is mounted or unmounted
	forgetting sync.Mutex // held while a mount is taken off the list and what follows is done

	mu       sync.Mutex               // guards the following
	byTarget map[string]*mount.Mount  // that are there
	made     map[*mount.Mount]int     // directories, from the target up, that are ours
	serving  map[*mount.Mount]bool    // that the kernel may keep content of: also those that come and go
	stale    []string                 // targets of dead mounts that were detached at the start
	givenUp  map[string]time.Time     // since when: IDs of requests that nobody waits for
	coming   map[string]chan struct{} // by ID: requests under way; closed at their end
}

func newMounts() *mounts {
	return &mounts{
		byTarget: make(map[string]*mount.Mount), made: make(map[*mount.Mount]int), serving: make(map[*mount.Mount]bool),
		givenUp: make(map[string]time.Time), coming: make(map[string]chan struct{}),
	}
}

// at returns what is mounted at a target, or nil.
func (ms *mounts) at(target string) *mount.Mount {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return ms.byTarget[target]
}

// byID returns the mount that a request of this id has made, or nil.
func (ms *mounts) byID(id string) *mount.Mount {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for _, m := range ms.byTarget {
		if m.ID() == id {
			return m
		}
	}
	return nil
}

// free returns a name like target that no mount has: of those that were handed over it is
// only a name, and two namespaces may have the same.
func (ms *mounts) free(target string) string {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	name := target
	for n := 2; ms.byTarget[name] != nil; n++ {
		name = fmt.Sprintf("%s#%d", target, n)
	}
	return name
}

// with returns the mount that an absolute path lies in, or nil.
func (ms *mounts) with(path string) *mount.Mount {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for target, m := range ms.byTarget {
		if cachedir.Within(path, target) {
			return m
		}
	}
	return nil
}

func (ms *mounts) all() []*mount.Mount {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return slices.Collect(maps.Values(ms.byTarget))
}

// targets are where something is mounted.
func (ms *mounts) targets() []string {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return slices.Collect(maps.Keys(ms.byTarget))
}

func (ms *mounts) add(m *mount.Mount, made int) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	ms.byTarget[m.Target()], ms.made[m] = m, made
}

// madeFor returns how many directories were made for a mount.
func (ms *mounts) madeFor(m *mount.Mount) int {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return ms.made[m]
}

// remove takes a mount off the list, if it is there, and then does what follows from
// that. Who comes second waits until that is done.
func (ms *mounts) remove(m *mount.Mount, then func()) {
	ms.forgetting.Lock()
	defer ms.forgetting.Unlock()
	if ms.take(m) {
		then()
	}
}

func (ms *mounts) take(m *mount.Mount) (there bool) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if there = ms.byTarget[m.Target()] == m; there {
		delete(ms.byTarget, m.Target())
		delete(ms.made, m)
	}
	return there
}

// serve takes note that the kernel may keep content of a mount, until unserve.
func (ms *mounts) serve(m *mount.Mount) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	ms.serving[m] = true
}

func (ms *mounts) unserve(m *mount.Mount) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	delete(ms.serving, m)
}

func (ms *mounts) served() []*mount.Mount {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return slices.Collect(maps.Keys(ms.serving))
}

// detached takes note of a stale mount that was taken away.
func (ms *mounts) detached(target string) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	ms.stale = append(ms.stale, target)
}

// wasStale reports, once, whether a stale mount was taken away from a target.
func (ms *mounts) wasStale(target string) bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	i := slices.Index(ms.stale, target)
	if i >= 0 {
		ms.stale = slices.Delete(ms.stale, i, i+1)
	}
	return i >= 0
}

// givenUpFor is how long a request that was given up is remembered: longer than
// one can be on its way.
const givenUpFor = 5 * time.Minute

// giveUp makes sure that a request for a mount mounts nothing from now on, and
// waits for its end.
func (ms *mounts) giveUp(ctx context.Context, id string) error {
	ms.mu.Lock()
	maps.DeleteFunc(ms.givenUp, func(_ string, since time.Time) bool { return time.Since(since) > givenUpFor })
	ms.givenUp[id] = time.Now()
	coming := ms.coming[id]
	ms.mu.Unlock()
	if coming == nil {
		return nil
	}
	select {
	case <-coming:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isGivenUp reports whether nobody waits for a request any more.
func (ms *mounts) isGivenUp(id string) bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	_, given := ms.givenUp[id]
	return given
}

// begins takes note of a request for a mount; the returned function takes note
// of its end.
func (ms *mounts) begins(id string) (end func()) {
	if id == "" {
		return func() {}
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	done := make(chan struct{})
	ms.coming[id] = done
	return func() {
		ms.mu.Lock()
		defer ms.mu.Unlock()
		delete(ms.coming, id)
		close(done)
	}
}
