package bulk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/bulk"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// content is that of all files here; its key names it truly.
const content = "hello"

const helloMD5 = "5d41402abc4b2a76b9719d911017c592"

// origin is a source of content that does what a test says.
type origin struct {
	do func(ctx context.Context, off, n int64, w io.Writer) error
}

func (o *origin) Sources(context.Context, annex.Key) ([]cache.Source, error) {
	return []cache.Source{o}, nil
}
func (o *origin) String() string { return "far" }
func (o *origin) Exact() bool    { return true }
func (o *origin) Fetch(ctx context.Context, off, n int64, w io.Writer) error {
	return o.do(ctx, off, n, w)
}

func honest(_ context.Context, off, n int64, w io.Writer) error {
	_, err := io.WriteString(w, content[off:off+n])
	return err
}

func worker(t *testing.T) bulk.Worker {
	t.Helper()
	c, err := cache.Open(t.TempDir(), cache.Options{Floor: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return bulk.Worker{Cache: c, Guard: func(_ string, fn func()) error { fn(); return nil }}
}

// file is a file whose key is its own by its extension.
func file(t *testing.T, path string, from cache.Origin) bulk.File {
	t.Helper()
	key, err := annex.ParseKey(fmt.Sprintf("MD5E-s%d--%s.%s", len(content), helloMD5, path))
	if err != nil {
		t.Fatal(err)
	}
	return bulk.File{Path: path, Key: key, Size: int64(len(content)), Use: cache.Use{Origin: from, Dataset: "ds", Name: path}}
}

// told keeps what is told.
type told struct {
	mu   sync.Mutex
	all  []control.Progress
	over bool
	t    *testing.T
}

func (x *told) tell(p control.Progress) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over {
		x.t.Errorf("told after the end: %+v", p)
	}
	x.all = append(x.all, p)
}

// end returns what was told last, and lets nothing more come.
func (x *told) end() control.Progress {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over = true
	if len(x.all) == 0 {
		x.t.Fatal("nothing was told")
	}
	return x.all[len(x.all)-1]
}

// A panic is the failure of one file, and of no other.
func TestPanicIsTheFailureOfItsFile(t *testing.T) {
	w := worker(t)
	w.Guard = func(_ string, fn func()) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("caught: %v", p)
			}
		}()
		fn()
		return nil
	}
	var files []bulk.File
	for i := range 5 {
		files = append(files, file(t, fmt.Sprint("f", i), &origin{honest}))
	}
	x := &told{t: t}
	failed, err := w.Each(t.Context(), files, 0, x.tell, func(_ context.Context, f bulk.File) error {
		if f.Path == "f2" {
			panic("mistake")
		}
		return nil
	})
	if err != nil || len(failed) != 1 || failed[0].Path != "f2" || failed[0].Why != "caught: mistake" {
		t.Errorf("%v, %v", failed, err)
	}
	if end := x.end(); end.Files != 5 || end.Failed != 1 {
		t.Errorf("told last: %+v", end)
	}
}

// Failures stop nobody else, come in the order of the paths, and are counted.
func TestEachGoesOnAfterFailures(t *testing.T) {
	w := worker(t)
	var files []bulk.File
	for i := range 40 {
		from := &origin{honest}
		if i%10 == 3 {
			from = &origin{func(context.Context, int64, int64, io.Writer) error { return errors.New("404") }}
		}
		files = append(files, file(t, fmt.Sprintf("f%02d", (i*7)%40), from))
	}
	local := file(t, "own", &origin{func(context.Context, int64, int64, io.Writer) error {
		t.Error("what the user's own repository has is fetched")
		return nil
	}})
	local.Local = true
	x := &told{t: t}
	failed, err := w.Each(t.Context(), append(files, local), 0, x.tell, w.Fetch)
	if err != nil || len(failed) != 4 {
		t.Fatalf("%v, %v", failed, err)
	}
	if !slices.IsSortedFunc(failed, func(a, b control.FileFailed) int { return strings.Compare(a.Path, b.Path) }) || !strings.Contains(failed[0].Why, "404") {
		t.Errorf("%+v", failed)
	}
	if p := x.end(); p.Phase != "fetch" || p.Files != 41 || p.Failed != 4 || p.Done != p.Total || p.Total != int64(41*len(content)) {
		t.Errorf("at the end: %+v", p)
	}
	if st := w.Cache.Status(); st.Objects != 36 {
		t.Errorf("%d objects", st.Objects)
	}
}

func TestEachEndsWithItsContext(t *testing.T) {
	w := worker(t)
	ctx, cancel := context.WithCancel(t.Context())
	var began atomic.Int64
	from := &origin{func(ctx context.Context, _, _ int64, _ io.Writer) error {
		if began.Add(1) == 5 {
			cancel()
		}
		<-ctx.Done()
		return ctx.Err()
	}}
	var files []bulk.File
	for i := range 200 {
		files = append(files, file(t, fmt.Sprint(i), from))
	}
	x := &told{t: t}
	failed, err := w.Each(ctx, files, 0, x.tell, w.Fetch)
	if !errors.Is(err, context.Canceled) || len(failed) != 0 {
		t.Errorf("%v, %v", failed, err)
	}
	x.end()
	if n := began.Load(); n > 2*bulk.AtOnce {
		t.Errorf("%d were begun", n)
	}
}

func TestEachDoesFewAtOnce(t *testing.T) {
	w := worker(t)
	var files []bulk.File
	for i := range 5 * bulk.AtOnce {
		files = append(files, file(t, fmt.Sprint(i), nil))
	}
	var now, most atomic.Int64
	full := make(chan struct{})
	var once sync.Once
	_, err := w.Each(t.Context(), files, 0, (&told{t: t}).tell, func(context.Context, bulk.File) error {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == bulk.AtOnce {
			once.Do(func() { close(full) })
		}
		select { // as many as may be are there together
		case <-full:
		case <-time.After(time.Minute):
			t.Error("they come one after the other")
		}
		now.Add(-1)
		return nil
	})
	if err != nil || most.Load() != bulk.AtOnce {
		t.Errorf("at most %d at once, %v", most.Load(), err)
	}
}

// What is under way counts by its bytes, and says what it is.
func TestProgressOfWhatIsUnderWay(t *testing.T) {
	w := worker(t)
	half, rest := make(chan struct{}), make(chan struct{})
	from := &origin{func(ctx context.Context, off, n int64, to io.Writer) error {
		if _, err := io.WriteString(to, content[off:off+2]); err != nil {
			return err
		}
		close(half)
		<-rest
		return honest(ctx, off+2, n-2, to)
	}}
	var seen sync.Once
	tell := func(p control.Progress) {
		if p.Done == 2 && p.Text == "slow" {
			seen.Do(func() { close(rest) })
		}
	}
	failed, err := w.Each(t.Context(), []bulk.File{file(t, "slow", from)}, 0, tell, w.Fetch)
	if err != nil || len(failed) != 0 {
		t.Errorf("%v, %v", failed, err)
	}
	<-half
}

// A network that is gone for a while is waited out, and that is told.
func TestOutageIsWaitedOut(t *testing.T) {
	w := worker(t)
	var tries atomic.Int64
	from := &origin{func(ctx context.Context, off, n int64, to io.Writer) error {
		if tries.Add(1) == 1 {
			return source.Outage(errors.New("out of reach"))
		}
		return honest(ctx, off, n, to)
	}}
	x := &told{t: t}
	failed, err := w.Each(t.Context(), []bulk.File{file(t, "far", from)}, time.Minute, x.tell, w.Fetch)
	if err != nil || len(failed) != 0 || tries.Load() < 2 {
		t.Errorf("%v, %v after %d tries", failed, err, tries.Load())
	}
	x.end()
	if !slices.ContainsFunc(x.all, func(p control.Progress) bool { return strings.Contains(p.Text, "network") }) {
		t.Error("nothing is told of the wait")
	}
}

func TestPatience(t *testing.T) {
	outage := source.Outage(errors.New("out of reach"))
	gone := &advice.Error{Kind: advice.Unreachable, What: "x", Reason: advice.Network}
	for name, tc := range map[string]struct {
		errs  []error // of the tries
		tries int
	}{
		"success":        {[]error{nil}, 1},
		"final":          {[]error{errors.New("404"), nil}, 1},
		"comes back":     {[]error{outage, nil}, 2},
		"known as such":  {[]error{gone, nil}, 2},
		"then a failure": {[]error{outage, errors.New("404"), nil}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := bulk.NewPatience(time.Minute)
			tries := 0
			err := p.Do(t.Context(), func() error { tries++; return tc.errs[tries-1] })
			if tries != tc.tries || !errors.Is(err, tc.errs[tc.tries-1]) {
				t.Errorf("%d tries, %v", tries, err)
			}
			if tc.errs[tc.tries-1] == nil && p.Text() != "" {
				t.Errorf("after success: %q", p.Text())
			}
		})
	}
	t.Run("too long", func(t *testing.T) {
		t.Parallel()
		p := bulk.NewPatience(time.Nanosecond)
		if err := p.Do(t.Context(), func() error { return outage }); !errors.Is(err, outage) {
			t.Error(err)
		}
	})
	t.Run("given up", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		p := bulk.NewPatience(time.Hour)
		if err := p.Do(ctx, func() error { cancel(); return outage }); err == nil || p.Text() == "" {
			t.Errorf("%v, %q", err, p.Text())
		}
	})
}
