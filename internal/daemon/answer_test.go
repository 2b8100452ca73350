package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/control"
)

// recorder is a connection that is always in time.
type recorder struct{ *httptest.ResponseRecorder }

func (recorder) SetReadDeadline(time.Time) error { return nil }

func newRecorder() recorder { return recorder{httptest.NewRecorder()} }

// lines reads what was told.
func lines(t *testing.T, w recorder) (events []control.Event) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
	for dec.More() {
		var e control.Event
		if err := dec.Decode(&e); err != nil {
			t.Fatalf("%v\n%s", err, w.Body)
		}
		events = append(events, e)
	}
	return events
}

// texts are those of the progress that was told.
func texts(events []control.Event) (said []string) {
	for _, e := range events {
		if e.Progress != nil {
			said = append(said, e.Progress.Text)
		}
	}
	return said
}

func newReply() (*reply, recorder) {
	w := newRecorder()
	return &reply{w: w}, w
}

// What is said only once is told, however soon it comes after something else.
func TestProgressThatIsSaidOnceIsTold(t *testing.T) {
	r, w := newReply()
	var want []string
	say := func(p control.Progress) {
		p.Text = fmt.Sprint(len(want))
		want = append(want, p.Text)
		r.Progress(p)
	}
	say(control.Progress{Phase: "wait"})
	say(control.Progress{Phase: "wait"}) // for another
	say(control.Progress{Phase: "clone", Total: 2})
	say(control.Progress{Phase: "snapshot"})
	say(control.Progress{Phase: "wait"})
	say(control.Progress{Phase: "snapshot", Done: 1, Total: 2})
	say(control.Progress{Phase: "snapshot", Done: 2, Total: 2})
	if got := texts(lines(t, w)); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

// Of what is said over and over, some is told, and what comes later too.
func TestProgressIsBounded(t *testing.T) {
	r, w := newReply()
	began := time.Now()
	for n := range 10_000 {
		r.Progress(control.Progress{Phase: "get", Done: int64(n), Total: 10_000, Text: fmt.Sprint(n)})
		if n == 4_999 {
			r.at = r.at.Add(-tellEvery)
		}
	}
	most := 3 + int(time.Since(began)/tellEvery)
	told := texts(lines(t, w))
	if len(told) > most || !slices.Contains(told, "0") || !slices.Contains(told, "5000") {
		t.Errorf("told %d times, at most %d would do: %q", len(told), most, told)
	}
}

// Whoever still has something to tell when the answer has ended tells nobody: the
// server's writer is for the next one then.
func TestNothingIsToldAfterTheEnd(t *testing.T) {
	for name, last := range map[string]error{"result": nil, "fault": errors.New("broken")} {
		d := &daemon{log: slog.New(slog.DiscardHandler), life: newLifetime(time.Hour)}
		defer d.life.stop()
		var late *reply
		w := newRecorder()
		answer(d, "ask", func(_ context.Context, _ struct{}, r *reply) (string, error) {
			late = r
			r.Progress(control.Progress{Phase: "get"})
			return "done", last
		})(w, httptest.NewRequest("POST", "/v1/ask", strings.NewReader("{}")))
		before := w.Body.String()
		w.Flushed = false
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				late.Progress(control.Progress{Phase: "wait"})
				late.Item(1)
				late.Flush()
				late.send(control.Event{Result: json.RawMessage("2")})
			})
		}
		all.Wait()
		if after := w.Body.String(); after != before || w.Flushed {
			t.Errorf("%s: after the end came %q", name, strings.TrimPrefix(after, before))
		}
		events := lines(t, w)
		if n := len(events); n != 2 || (events[1].Fault != nil) != (last != nil) || (events[1].Result != nil) != (last == nil) {
			t.Errorf("%s: %s", name, before)
		}
	}
}

// watcher looks at the daemon whenever something is written.
type watcher struct {
	recorder
	look func(line string)
}

func (w watcher) Write(line []byte) (int, error) {
	w.look(string(line))
	return w.recorder.Write(line)
}

// Whoever has an answer may rely on its request having ended: the daemon is at
// work for it no more, and can be replaced.
func TestRequestHasEndedBeforeItsAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		do   func() (int, error)
		last string
	}{
		"result":         {"{}", func() (int, error) { return 7, nil }, `"result":7`},
		"fault":          {"{}", func() (int, error) { return 0, errors.New("broken") }, "broken"},
		"panic":          {"{}", func() (int, error) { panic("mistaken") }, "mistaken"},
		"not understood": {"{", func() (int, error) { return 0, nil }, "not understood"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &daemon{log: slog.New(slog.DiscardHandler), life: newLifetime(time.Hour)}
			defer d.life.stop()
			var ctx context.Context
			w := watcher{newRecorder(), func(line string) {
				last := strings.Contains(line, `"result"`) || strings.Contains(line, `"fault"`)
				if work := d.life.work(); (len(work) == 0) != last {
					t.Errorf("at %s the daemon is at work for %q", line, work)
				}
				if last && ctx != nil && ctx.Err() == nil {
					t.Error("its context has not ended")
				}
			}}
			answer(d, "get", func(got context.Context, _ struct{}, r *reply) (int, error) {
				ctx = got
				r.Progress(control.Progress{Phase: "get"})
				return c.do()
			})(w, httptest.NewRequest("POST", "/v1/get", strings.NewReader(c.body)))
			if !strings.Contains(w.Body.String(), c.last) {
				t.Errorf("answered %s", w.Body)
			}
			if !d.life.stopIfIdle() {
				t.Error("it counts as running")
			}
		})
	}
}

// A request that is being answered ends with the daemon, and says so.
func TestRequestsEndWithTheDaemon(t *testing.T) {
	d := &daemon{log: slog.New(slog.DiscardHandler), life: newLifetime(time.Hour)}
	w := newRecorder()
	h := answer(d, "get", func(ctx context.Context, _ struct{}, _ *reply) (int, error) {
		go d.life.stop()
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), errStopping) {
			t.Errorf("it ends because of %v", context.Cause(ctx))
		}
		return 0, ctx.Err()
	})
	h(w, httptest.NewRequest("POST", "/v1/get", nil))
	if e := lines(t, w); len(e) != 1 || e[0].Fault == nil || !strings.Contains(e[0].Fault.What, "stopping") || len(e[0].Fault.Do) == 0 {
		t.Errorf("answered %s", w.Body)
	}
	w = newRecorder()
	h(w, httptest.NewRequest("POST", "/v1/get", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("the next one: %d %s", w.Code, w.Body)
	}
	// What waits for the daemon's end is answered all the same.
	w = newRecorder()
	answer(d, uncounted, func(ctx context.Context, _ struct{}, _ *reply) (int, error) { return 7, ctx.Err() })(w, httptest.NewRequest("POST", "/v1/wait", nil))
	if e := lines(t, w); len(e) != 1 || string(e[0].Result) != "7" {
		t.Errorf("waiting: %s", w.Body)
	}
}

// What is no request is told so by its status alone.
func TestWhatIsNoRequest(t *testing.T) {
	d := &daemon{log: slog.New(slog.DiscardHandler), life: newLifetime(time.Hour)}
	defer d.life.stop()
	for request, want := range map[string]int{
		"GET /":                404,
		"POST /v1/none":        404,
		"POST /v9/list":        404,
		"GET /v1/list":         405,
		"POST /v1/hello":       405,
		"DELETE /v1/status":    405,
		"POST /v1/stop?if=not": 400,
	} {
		method, path, _ := strings.Cut(request, " ")
		w := newRecorder()
		d.routes().ServeHTTP(w, httptest.NewRequest(method, path, nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", request, w.Code, want)
		}
	}
	if d.life.ctx.Err() != nil {
		t.Error("it has stopped")
	}
}
