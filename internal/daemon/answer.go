package daemon

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"sync"
	"time"
)

// reply sends the lines of an answer. It is safe for concurrent use.
type reply struct {
	mu   sync.Mutex
	w    http.ResponseWriter
	last time.Time
}

func (r *reply) send(e event) {
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
func (r *reply) progress(p Progress) {
	r.mu.Lock()
	now := time.Now()
	skip := now.Sub(r.last) < 50*time.Millisecond && (p.Total == 0 || p.Done < p.Total)
	if !skip {
		r.last = now
	}
	r.mu.Unlock()
	if !skip {
		r.send(event{Progress: &p})
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
	r.send(event{Item: raw})
	return nil
}

// answer makes a handler of a function from a request to a result. The
// function's ctx ends when the client goes away.
func answer[Req, Res any](d *daemon, fn func(ctx context.Context, req Req, r *reply) (Res, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, h *http.Request) {
		d.begin()
		defer d.end()
		w.Header().Set("Content-Type", "application/x-ndjson")
		r := &reply{w: w}
		var req Req
		if err := readRequest(w, h, &req); err != nil {
			r.send(event{Fault: fault(Usage, "the request is not understood", err)})
			return
		}
		res, err := fn(h.Context(), req, r)
		if err != nil {
			f := ToFault(err)
			d.log.Error("request failed", "request", h.URL.Path, "what", f.What, "why", f.Why)
			r.send(event{Fault: f})
			return
		}
		raw, err := json.Marshal(res)
		if err != nil {
			r.send(event{Fault: fault(Failed, "the answer cannot be sent", err)})
			return
		}
		r.send(event{Result: raw})
	}
}

func (d *daemon) sayHello(w http.ResponseWriter, _ *http.Request) {
	d.mu.Lock()
	h := hello{Version: d.options.Version, PID: os.Getpid(), Mounts: len(d.mounts)}
	d.mu.Unlock()
	d.restartGrace()
	json.NewEncoder(w).Encode(h)
}

func (d *daemon) stopRequest(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusNoContent)
	d.stop()
}
