package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/place"
)

// Fit says why a daemon at a place will not do; "" is that it will.
type Fit func(at place.Place) (why string)

// why is what f says; nil takes any daemon that can be asked.
func (f Fit) why(at place.Place) string {
	if f == nil {
		return ""
	}
	return f(at)
}

// ElsewhereError is that the daemon of the cache will not do where it is.
type ElsewhereError struct {
	At    place.Place
	Why   string // it will not do
	fault *advice.Error
}

func (e *ElsewhereError) Error() string { return e.fault.Error() }
func (e *ElsewhereError) Unwrap() error { return e.fault }

func elsewhere(dir cachedir.Dir, at place.Place, why string) error {
	do := []string{
		"run a command on a view of its own with: uniharmonyfs exec",
		"or use a cache of its own here, on a disk of this host: --cache DIR",
	}
	if !at.OnOtherHost() {
		do = append(do, "or take away what that daemon has mounted: uniharmonyfs unmount TARGET; see uniharmonyfs status")
	}
	return &ElsewhereError{At: at, Why: why, fault: advice.New(advice.Failed, fmt.Sprintf("the cache %s is served by %v", dir, at), errors.New(why), do...)}
}

// signed returns who has signed the lock of a cache, if that is a daemon on another host,
// and whether it has given a sign of life of late. No socket reaches it. One of this
// host's name was this one, before it was started again.
func signed(dir cachedir.Dir) (by place.Place, alive, ok bool) {
	said, when, err := dir.Holder()
	if err != nil || json.Unmarshal(said, &by) != nil || !by.OnOtherHost() {
		return by, false, false
	}
	return by, by.Host != place.Here().Host && time.Since(when).Abs() < SilentAfter, true
}

// onOtherHost returns the place of a cache's daemon if that is on another host.
func onOtherHost(dir cachedir.Dir) (at place.Place, is bool) {
	at, alive, ok := signed(dir)
	if !ok {
		return at, false
	}
	held, err := dir.IsLocked()
	return at, err == nil && (held || alive)
}

// IsServed reports whether a daemon serves the cache in dir, here or on another host.
func IsServed(dir cachedir.Dir) bool {
	held, err := dir.IsLocked()
	if err == nil && held {
		return true
	}
	_, is := onOtherHost(dir)
	return is
}

// HeldInSpite is the error that a cache whose lock this process holds is served on another
// host all the same, as on file systems that keep locks from other hosts; nil is that it
// is not.
func HeldInSpite(dir cachedir.Dir) error {
	if at, alive, ok := signed(dir); ok && alive {
		return elsewhere(dir, at, "it is on another host, where this host's locks do not reach")
	}
	return nil
}

const (
	// SignOfLife is how often the daemon of a cache gives the lock a new date.
	SignOfLife = 45 * time.Second
	// SilentAfter is when one that does not do so is gone.
	SilentAfter = 150 * time.Second
)
