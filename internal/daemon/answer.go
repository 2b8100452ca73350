package daemon

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/control"
)

// reply sends the lines of an answer. It is safe for concurrent use.
type reply struct {
	ended chan struct{} // closed when the request uses nothing any more

	mu   sync.Mutex
	w    http.ResponseWriter
	last time.Time
}

func (r *reply) send(e control.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	line, err := json.Marshal(e)
	if err != nil {
		return
	}
	r.w.Write(append(line, '\n'))
	// Lists are many small items; their lines travel in the buffer.
	if e.Item == nil {
		http.NewResponseController(r.w).Flush()
	}
}

// progress reports, at most twenty times a second unless the phase is done.
func (r *reply) progress(p control.Progress) {
	r.mu.Lock()
	now := time.Now()
	skip := now.Sub(r.last) < 50*time.Millisecond && (p.Total == 0 || p.Done < p.Total)
	if !skip {
		r.last = now
	}
	r.mu.Unlock()
	if !skip {
		r.send(control.Event{Progress: &p})
	}
}

func (r *reply) flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	http.NewResponseController(r.w).Flush()
}

func (r *reply) item(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	r.send(control.Event{Item: raw})
	return nil
}

// counted makes a handler of requests that keep the daemon alive, and that are
// cancelled when it stops. Refused with 503, nothing of a request was done.
func (d *daemon) counted(name string, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		end, ok := d.life.begin(name)
		if !ok {
			http.Error(w, errStopping.Error(), http.StatusServiceUnavailable)
			return
		}
		defer end()
		ctx, cancel := context.WithCancelCause(req.Context())
		defer cancel(nil)
		defer context.AfterFunc(d.life.ctx, func() { cancel(errStopping) })()
		h(w, req.WithContext(ctx))
	}
}

// answer makes a handler of a function from a request to a result. The
// function's ctx ends when the client goes away.
func answer[Req, Res any](d *daemon, fn func(ctx context.Context, req Req, r *reply) (Res, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, h *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		r := &reply{w: w, ended: make(chan struct{})}
		end := sync.OnceFunc(func() { close(r.ended) })
		defer end()
		var req Req
		if err := control.ReadRequest(w, h, &req); err != nil {
			r.send(control.Event{Fault: advice.New(advice.Usage, "the request is not understood", err)})
			return
		}
		r.flush() // a client that sees no answer begin knows that nothing has begun
		var res Res
		var err error
		if panicked := d.guarded(h.URL.Path, func() { res, err = fn(h.Context(), req, r) }); panicked != nil {
			err = panicked
		}
		end() // before the answer: whoever has it may rely on that
		if err != nil {
			f := control.ToAdvice(err)
			if f.Kind == advice.Interrupted && d.life.ctx.Err() != nil {
				f = advice.New(advice.Failed, errStopping.Error(), nil, "run the command again: nothing is lost")
			}
			d.log.Error("request failed", "request", h.URL.Path, "what", f.What, "why", f.Why)
			r.send(control.Event{Fault: f})
			return
		}
		raw, err := json.Marshal(res)
		if err != nil {
			r.send(control.Event{Fault: advice.New(advice.Failed, "the answer cannot be sent", err)})
			return
		}
		r.send(control.Event{Result: raw})
	}
}

// sayHello tells who is here; 503 when the daemon is stopping.
func (d *daemon) sayHello(w http.ResponseWriter, _ *http.Request) {
	if d.life.ctx.Err() != nil {
		http.Error(w, errStopping.Error(), http.StatusServiceUnavailable)
		return
	}
	h := control.Hello{Version: d.options.Version, PID: os.Getpid(), Mounts: len(d.mountList()), Work: append([]string{}, d.life.work()...)}
	d.life.touch()
	json.NewEncoder(w).Encode(h)
}

// stopRequest stops the daemon if it has nothing to do, which 409 says it has:
// programs of a version before ask without ?if=idle, and look at mounts only.
func (d *daemon) stopRequest(w http.ResponseWriter, r *http.Request) {
	if when := r.URL.Query().Get("if"); when != "" && when != "idle" {
		http.Error(w, "if can only be idle", http.StatusBadRequest)
		return
	}
	if !d.life.stopIfIdle() {
		http.Error(w, "something is mounted or being done", http.StatusConflict)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
