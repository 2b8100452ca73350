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

// reply sends the lines of an answer. It is safe for concurrent use; what is told
// after the answer's end is dropped.
type reply struct {
	mu   sync.Mutex // guards the following
	w    http.ResponseWriter
	over bool // the last line was sent
	told control.Progress
	at   time.Time // when it was told

	// uncount says that the request keeps the daemon alive no more, but goes on.
	uncount func()
}

func (r *reply) send(e control.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.write(e)
}

// write is send for who holds mu.
func (r *reply) write(e control.Event) {
	if r.over {
		return // the server has taken back the writer
	}
	r.over = e.Result != nil || e.Fault != nil
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

// tellEvery bounds how often progress is told.
const tellEvery = 50 * time.Millisecond

// Progress reports, at most twenty times a second, but the beginning and the end
// of a phase always, and what is waited for: that may be said only once.
func (r *reply) Progress(p control.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	always := p.Phase == control.PhaseWait || p.Phase != r.told.Phase || p.Total > 0 && p.Done >= p.Total
	if !always && now.Sub(r.at) < tellEvery {
		return
	}
	r.told, r.at = p, now
	r.write(control.Event{Progress: &p})
}

// Flush sends what is in the buffer.
func (r *reply) Flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over {
		http.NewResponseController(r.w).Flush()
	}
}

// Item sends one item of the answer.
func (r *reply) Item(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	r.send(control.Event{Item: raw})
	return nil
}

// begin takes note of a request that keeps the daemon alive. Its context ends when
// the daemon stops; end, which may be called again, takes note of its end, and uncount
// of nothing but that it keeps the daemon alive no more. ok is false, and nothing has
// begun, when the daemon is stopping.
func (d *daemon) begin(name string, h *http.Request) (ctx context.Context, uncount, end func(), ok bool) {
	ended, ok := d.life.begin(name)
	if !ok {
		return nil, nil, nil, false
	}
	ctx, cancel := context.WithCancelCause(h.Context())
	stop := context.AfterFunc(d.life.ctx, func() { cancel(errStopping) })
	uncount = sync.OnceFunc(ended)
	return ctx, uncount, sync.OnceFunc(func() { stop(); cancel(nil); uncount() }), true
}

// uncounted is the name of requests that do not keep the daemon alive, and that
// its end does not await: they wait for what that brings about.
const uncounted = ""

// answer makes a handler of a function from a request to a result. The
// function's ctx ends when the client goes away, or the daemon stops. Refused
// with 503, nothing of a request was done. When the last line comes the request
// has ended: whoever has the answer may rely on that.
func answer[Req, Res any](d *daemon, name string, fn func(ctx context.Context, req Req, r *reply) (Res, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, h *http.Request) {
		ctx, uncount, end := h.Context(), func() {}, func() {}
		if name != uncounted {
			var ok bool
			if ctx, uncount, end, ok = d.begin(name, h); !ok {
				http.Error(w, errStopping.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		r := &reply{w: w, uncount: uncount}
		defer end()
		var req Req
		if err := control.ReadRequest(w, h, &req); err != nil {
			end()
			r.send(control.Event{Fault: advice.New(advice.Usage, "the request is not understood", err)})
			return
		}
		r.Flush() // a client that sees no answer begin knows that nothing has begun
		var res Res
		var err error
		if panicked := d.guarded(h.URL.Path, func() { res, err = fn(ctx, req, r) }); panicked != nil {
			err = panicked
		}
		end()
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
	h := control.Hello{Version: d.options.Version, PID: os.Getpid(), Mounts: len(d.mounts.targets()), Work: append([]string{}, d.life.work()...), Idle: d.life.idleFor(), Place: d.place}
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
