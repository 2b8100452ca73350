// Package life is what ends with a cache: the goroutines that it began, and the
// context that they go by. A panic in one ends nothing but what it happened in.
package life

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
)

// Life may begin a goroutine at any time, also while somebody waits for the end of
// all: whoever was late with something. (A sync.WaitGroup allows no such thing.)
// Its methods are safe for concurrent use. Make one with New.
type Life struct {
	// Context ends with the life.
	Context context.Context
	stop    context.CancelCauseFunc
	log     *slog.Logger

	mu      sync.Mutex // a leaf; guards running
	running int
	ended   sync.Cond // of mu: nothing is running
}

// New returns a life that has begun.
func New(log *slog.Logger) *Life {
	l := &Life{log: log}
	l.ended.L = &l.mu
	l.Context, l.stop = context.WithCancelCause(context.Background())
	return l
}

// Stop ends the context, with a cause. It does not wait.
func (l *Life) Stop(cause error) { l.stop(cause) }

// Spawn runs fn in a goroutine that Rest waits for. Should it panic, failed is
// told if it is not nil.
func (l *Life) Spawn(what string, fn func(), failed func(error)) {
	l.mu.Lock()
	l.running++
	l.mu.Unlock()
	go func() {
		defer func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.running--; l.running == 0 {
				l.ended.Broadcast()
			}
		}()
		err := l.Guard(what, func() error { fn(); return nil })
		if err != nil && failed != nil {
			failed(err)
		}
	}()
}

// Guard calls what is not the cache's: a panic there is its failure.
func (l *Life) Guard(what string, fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			l.log.Error("panic in the cache", "in", what, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("a defect of the program: %v: %w", p, errDefect)
		}
	}()
	return fn()
}

var errDefect = errors.New("see the log")

// Rest returns at a moment when nothing is running.
func (l *Life) Rest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.running > 0 {
		l.ended.Wait()
	}
}

// Wait waits until done is closed, or returns ctx's error. What is closed already
// counts, even when ctx has ended.
func Wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	default:
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
