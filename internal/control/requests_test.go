package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/bids/filter"
	"github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
)

// A mount that is interrupted is given up by its name, and taken away if it came
// all the same; one that is made has no second word.
func TestInterruptedMountIsGivenUp(t *testing.T) {
	began := make(chan struct{})
	f := newFake(t, map[string]http.HandlerFunc{
		"POST /v1/mount": func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			close(began)
			<-r.Context().Done()
		},
		"POST /v1/unmount": says(`{"result":{}}`),
	})
	c := f.client()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; cancel() }()
	_, err := c.Mount(ctx, MountRequest{Target: "/t", ID: "of the caller"}, nil)
	if ToAdvice(err).Kind != advice.Interrupted {
		t.Errorf("error %v", err)
	}
	var req MountRequest
	var gone UnmountRequest
	said := f.requests()
	if len(said) != 2 {
		t.Fatalf("asked: %q", said)
	}
	scan(t, said[0], "/v1/mount", &req)
	scan(t, said[1], "/v1/unmount", &gone)
	if req.ID == "" || req.ID == "of the caller" || gone != (UnmountRequest{Target: "/t", ID: req.ID, Force: true}) {
		t.Errorf("mount %+v, unmount %+v", req, gone)
	}

	f = newFake(t, map[string]http.HandlerFunc{"POST /v1/mount": says(`{"result":{"target":"/t","files":7}}`)})
	if info, err := f.client().Mount(t.Context(), MountRequest{Target: "/t"}, nil); err != nil || info.Files != 7 {
		t.Errorf("%+v, %v", info, err)
	}
	if n := len(f.requests()); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// When a cache was removed the answer comes once it is gone.
func TestRemovedCacheIsGoneOnReturn(t *testing.T) {
	for name, c := range map[string]struct {
		end   func(f *fake)
		words []string
	}{
		"gone": {func(f *fake) { f.dir.Remove(); f.stop() }, nil},
		"left": {func(f *fake) { f.stop() }, []string{"could not be removed completely", "daemon.log"}},
	} {
		for _, how := range []string{"clean", "unmount"} {
			t.Run(name+" "+how, func(t *testing.T) {
				answered := make(chan struct{})
				answer := func(w http.ResponseWriter, _ *http.Request) {
					says(`{"result":{"cache_removed":true}}`)(w, nil)
					close(answered)
				}
				f := newFake(t, map[string]http.HandlerFunc{"POST /v1/clean": answer, "POST /v1/unmount": answer})
				client := f.client()
				go func() {
					<-answered
					time.Sleep(20 * time.Millisecond)
					c.end(f)
				}()
				var err error
				if how == "clean" {
					_, err = client.Clean(t.Context(), CleanRequest{All: true})
				} else {
					_, err = client.Unmount(t.Context(), UnmountRequest{Clean: true})
				}
				if c.words == nil {
					if _, there := os.Lstat(string(f.dir)); err != nil || !os.IsNotExist(there) {
						t.Errorf("%v; the cache: %v", err, there)
					}
				} else if err := hasAdvice(err, advice.Failed, c.words...); err != nil {
					t.Error(err)
				}
				f.stop()
			})
		}
	}
	f := newFake(t, map[string]http.HandlerFunc{"POST /v1/clean": says(`{"result":{"cache_removed":true}}`)})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	// It ends at once, whether the answer has come by then or not.
	_, err := f.client().Clean(ctx, CleanRequest{All: true})
	if told := new(advice.Error); !errors.Is(err, context.Canceled) && (!errors.As(err, &told) || told.Kind != advice.Interrupted) {
		t.Errorf("interrupted: %v", err)
	}
	f = newFake(t, map[string]http.HandlerFunc{"POST /v1/clean": says(`{"result":{"cache_removed":false,"files":7}}`)})
	if res, err := f.client().Clean(t.Context(), CleanRequest{}); err != nil || res.Files != 7 {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestWaitAsksForTheMount(t *testing.T) {
	f := newFake(t, map[string]http.HandlerFunc{"POST /v1/wait": says(`{"result":{}}`)})
	if err := f.client().Wait(t.Context(), "/t"); err != nil {
		t.Error(err)
	}
	var req UnmountRequest
	scan(t, f.requests()[0], "/v1/wait", &req)
	if req != (UnmountRequest{Target: "/t"}) {
		t.Errorf("%+v", req)
	}
}

// What a request cannot say exactly is not said.
func TestRequestsThatAreNoTextAreNotSent(t *testing.T) {
	f := newFake(t, nil)
	c := f.client()
	for name, err := range map[string]error{
		"mount":   second(c.Mount(t.Context(), MountRequest{Target: "/t\xff"}, nil)),
		"unmount": second(c.Unmount(t.Context(), UnmountRequest{Target: "/t\xff"})),
		"status":  second(c.Status(t.Context(), StatusRequest{Paths: []string{"/t", "/t\xff"}})),
		"wait":    c.Wait(t.Context(), "/t\xff"),
	} {
		if err := hasAdvice(err, advice.Usage, "UTF-8", "directory above"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := f.requests(); len(got) > 0 {
		t.Errorf("asked: %q", got)
	}
}

func second[T any](_ T, err error) error { return err }

func TestMountOfWhatIsNoMount(t *testing.T) {
	if dir, ok, err := MountOf(t.TempDir()); ok || err != nil {
		t.Errorf("%s, %v, %v", dir, ok, err)
	}
	if _, ok, err := MountOf("/proc"); ok || err != nil {
		t.Errorf("another's: %v, %v", ok, err)
	}
}

func TestErrorsBecomeAdvice(t *testing.T) {
	known := advice.New(advice.Partial, "known", nil)
	for _, c := range []struct {
		err  error
		kind advice.Kind
	}{
		{fmt.Errorf("above: %w", known), advice.Partial},
		{fmt.Errorf("mounting: %w", fs.ErrNoFUSE), advice.CannotMount},
		{fs.ErrNoFusermount, advice.CannotMount},
		{fs.ErrNotPermitted, advice.CannotMount},
		{fs.ErrTarget, advice.CannotMount},
		{fs.ErrStale, advice.CannotMount},
		{os.NewSyscallError("write", syscall.ENOSPC), advice.NoSpace},
		{fmt.Errorf("asking: %w", context.Canceled), advice.Interrupted},
		{fmt.Errorf("choosing: %w", &bids.NoMatchError{Dimension: "sub", Value: "9", Nearest: []string{"01"}}), advice.NoMatch},
		{fmt.Errorf("choosing: %w", &filter.UsageError{Dimension: "run", Value: "x", Why: "is no number"}), advice.Usage},
		{os.NewSyscallError("write", syscall.EDQUOT), advice.NoSpace},
		{errors.New("whatever"), advice.Failed},
	} {
		got := ToAdvice(c.err)
		if got.Kind != c.kind || got.What == "" {
			t.Errorf("%v becomes %+v, want %s", c.err, got, c.kind)
		}
		if (c.kind == advice.NoSpace && got.Why == "" || c.kind == advice.NoMatch || c.kind == advice.CannotMount) && len(got.Do) == 0 {
			t.Errorf("%v becomes %+v without advice", c.err, got)
		}
	}
	if ToAdvice(fmt.Errorf("above: %w", known)) != known {
		t.Error("advice is not kept")
	}
	if !IsLocked(fmt.Errorf("x: %w", cachedir.ErrLocked)) || IsLocked(known) {
		t.Error("locked")
	}
}

// A connection that is kept could be one that the daemon is just closing.
func TestConnectionsAreForOneRequest(t *testing.T) {
	var kept atomic.Int64
	f := newFake(t, map[string]http.HandlerFunc{"POST /v1/files": func(w http.ResponseWriter, r *http.Request) {
		if !r.Close {
			kept.Add(1)
		}
		says(`{"result":{}}`)(w, r)
	}})
	if _, err := f.client().Files(t.Context(), FilesRequest{}, nil); err != nil || kept.Load() > 0 {
		t.Errorf("%v, %d kept", err, kept.Load())
	}
}
