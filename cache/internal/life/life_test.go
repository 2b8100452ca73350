package life

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func begin() (*Life, *strings.Builder) {
	var b strings.Builder
	return New(slog.New(slog.NewTextHandler(&b, nil))), &b
}

// A panic is told to who began what panics, and to the log, and ends nothing else.
func TestPanicIsAFailure(t *testing.T) {
	l, log := begin()
	told := make(chan error, 1)
	l.Spawn("a thing", func() { panic("oh") }, func(err error) { told <- err })
	if err := <-told; !errors.Is(err, errDefect) || !strings.Contains(err.Error(), "oh") {
		t.Error(err)
	}
	l.Rest()
	if !strings.Contains(log.String(), "a thing") || !strings.Contains(log.String(), "life_test.go") {
		t.Errorf("the log has %s", log)
	}
	l.Spawn("another", func() { panic("oh") }, nil)
	l.Rest()
	no := errors.New("no")
	if err := l.Guard("calling", func() error { return no }); err != no {
		t.Error(err)
	}
	if err := l.Guard("calling", func() error { panic("oh") }); !errors.Is(err, errDefect) {
		t.Error(err)
	}
}

// Goroutines may begin while others are waited for, by whoever is late; Rest returns
// when nothing runs.
func TestGoroutinesMayBeginWhileOthersAreWaitedFor(t *testing.T) {
	l, _ := begin()
	var resting sync.WaitGroup
	for range 8 {
		resting.Go(func() {
			for range 200 {
				l.Spawn("late", func() { l.Spawn("later", func() {}, nil) }, nil)
				l.Rest()
			}
		})
	}
	resting.Wait()
	l.Rest()
	if l.running != 0 {
		t.Errorf("%d run", l.running)
	}
}

// Stop ends the context with its cause, and waits for nobody.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := begin()
		why := errors.New("why")
		var over atomic.Bool
		l.Spawn("a thing", func() { <-l.Context.Done(); time.Sleep(time.Hour); over.Store(true) }, nil)
		l.Stop(why)
		if over.Load() || context.Cause(l.Context) != why {
			t.Errorf("%v, %v", over.Load(), context.Cause(l.Context))
		}
		l.Rest()
		if !over.Load() {
			t.Error("Rest did not wait")
		}
	})
}

// What has ended counts even when the context has, too.
func TestWait(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	cancel()
	if err := Wait(ctx, done); err != context.Canceled {
		t.Error(err)
	}
	close(done)
	for range 100 {
		if err := Wait(ctx, done); err != nil {
			t.Fatal(err)
		}
	}
}
