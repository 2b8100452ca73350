package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/mount"
)

func TestLifetimeRefusesOnceItIsStopping(t *testing.T) {
	l := newLifetime(time.Hour)
	end, ok := l.begin("get")
	if !ok {
		t.Fatal("a request is refused while serving")
	}
	if l.stopIfIdle() {
		t.Fatal("it stops as idle while a request runs")
	}
	l.stop()
	if !errors.Is(context.Cause(l.ctx), errStopping) {
		t.Error("what runs is not told")
	}
	if _, ok := l.begin("list"); ok {
		t.Error("a request begins while stopping")
	}
	if l.mounted() {
		t.Error("a mount is taken in while stopping")
	}
	if left := l.drain(time.Millisecond); len(left) != 1 || left[0] != "get" {
		t.Errorf("left: %q", left)
	}
	end()
	if left := l.drain(time.Minute); left != nil {
		t.Errorf("left: %q", left)
	}
}

// Either the request begins or the daemon stops: never both.
func TestIdleStopAndBeginAreOneDecision(t *testing.T) {
	for range 2000 {
		l := newLifetime(time.Hour)
		var began, stopped bool
		var both sync.WaitGroup
		both.Go(func() { _, began = l.begin("get") })
		both.Go(func() { stopped = l.stopIfIdle() })
		both.Wait()
		if began == stopped {
			t.Fatalf("began: %v, stopped: %v", began, stopped)
		}
		l.stop()
	}
}

func TestLifetimeStopsAfterTheGracePeriod(t *testing.T) {
	l := newLifetime(time.Millisecond)
	select {
	case <-l.ctx.Done():
	case <-time.After(time.Minute):
		t.Fatal("it does not stop")
	}
	if l.wiping() {
		t.Error("the cache would be removed")
	}
}

func TestMountedKeepsItAlive(t *testing.T) {
	l := newLifetime(time.Hour)
	defer l.stop()
	if !l.mounted() || l.stopIfIdle() {
		t.Fatal("it stops with a mount")
	}
	l.unmounted()
	if end, ok := l.begin("clean"); !ok || !l.stopAlone() || !l.wiping() {
		t.Error("the last request cannot end the cache")
	} else {
		end()
	}
}

func testDaemon(log *strings.Builder) *daemon {
	d := &daemon{dir: "/nowhere", log: slog.New(slog.NewTextHandler(log, nil)), mounts: newMounts()}
	d.life = newLifetime(time.Hour)
	return d
}

func TestPanicIsTheErrorOfItsRequestOnly(t *testing.T) {
	var log strings.Builder
	d := testDaemon(&log)
	defer d.life.stop()
	h := answer(d, "list", func(context.Context, struct{}, *reply) (struct{}, error) { panic("mistaken") })
	s := httptest.NewServer(h)
	defer s.Close()
	resp, err := http.Post(s.URL, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if out, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(out), `"fault"`) || !strings.Contains(string(out), "mistaken") {
		t.Errorf("answer: %s, %v", out, err)
	}
	s.Close() // it has ended
	if !strings.Contains(log.String(), "mistaken") || !strings.Contains(log.String(), "lifetime_test.go") {
		t.Errorf("log: %s", log.String())
	}
	if !d.life.stopIfIdle() {
		t.Error("the request counts as running")
	}
}

func TestPanicInTheBackgroundIsLogged(t *testing.T) {
	var log strings.Builder
	d := testDaemon(&log)
	defer d.life.stop()
	done := make(chan error)
	go func() { done <- d.guarded("prefetch", func() { panic("mistaken") }) }()
	if err := <-done; err == nil || !strings.Contains(log.String(), "stack") {
		t.Errorf("%v, log: %s", err, log.String())
	}
}

func TestStopIfIdleLeavesWorkAlone(t *testing.T) {
	var log strings.Builder
	d := testDaemon(&log)
	end, _ := d.life.begin("get")
	ask := func(method, path string) int {
		w := httptest.NewRecorder()
		d.routes().ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w.Code
	}
	if code := ask("POST", "/v1/stop?if=idle"); code != 409 {
		t.Errorf("at work: %d, want 409", code)
	}
	end()
	if code := ask("POST", "/v1/stop?if=idle"); code != 204 {
		t.Errorf("idle: %d, want 204", code)
	}
	for _, path := range []string{"/v1/list", "/v1/mount", "/v1/status"} {
		if code := ask("POST", path); code != 503 {
			t.Errorf("%s while stopping: %d, want 503", path, code)
		}
	}
}

func TestGivenUpRequestsAreForgotten(t *testing.T) {
	var log strings.Builder
	d := testDaemon(&log)
	defer d.life.stop()
	d.mounts.givenUp["old"] = time.Now().Add(-2 * givenUpFor)
	if err := d.mounts.giveUp(t.Context(), "new"); err != nil {
		t.Fatal(err)
	}
	if _, there := d.mounts.givenUp["old"]; there || len(d.mounts.givenUp) != 1 {
		t.Errorf("remembered: %v", d.mounts.givenUp)
	}
}

// A daemon is idle since the last mount has gone and the last request has ended.
func TestIdleSince(t *testing.T) {
	l := newLifetime(time.Hour)
	defer l.stop()
	time.Sleep(time.Millisecond)
	before := l.idleFor()
	if before < time.Millisecond {
		t.Errorf("from the start: %v", before)
	}
	l.touch()
	if now := l.idleFor(); now < before {
		t.Errorf("it was looked at: %v", now)
	}
	end, _ := l.begin("list")
	if l.idleFor() != 0 {
		t.Error("something is being done")
	}
	l.mounted()
	end()
	if l.idleFor() != 0 {
		t.Error("something is mounted")
	}
	began := time.Now()
	l.unmounted()
	if now := l.idleFor(); now <= 0 || now > time.Since(began) {
		t.Errorf("after the end: %v", now)
	}
}

// Who unmounts, and what looks for the end of a mount, both take it off the list: neither
// goes on before nothing of it counts any more.
func TestMountIsForgottenWhenRemoveReturns(t *testing.T) {
	ms, m := newMounts(), new(mount.Mount)
	ms.add(m, 0)
	closing, goOn, closed := make(chan struct{}), make(chan struct{}), false
	var wg sync.WaitGroup
	wg.Go(func() {
		ms.remove(m, func() {
			close(closing)
			<-goOn
			closed = true
		})
	})
	<-closing
	time.AfterFunc(20*time.Millisecond, func() { close(goOn) })
	ms.remove(m, func() { t.Error("it was closed twice") })
	if !closed {
		t.Error("it is being closed still")
	}
	wg.Wait()
}
