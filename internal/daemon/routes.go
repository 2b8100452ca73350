package daemon

import (
	"context"
	"net/http"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/control"
)

// routes are the requests a daemon answers.
func (d *daemon) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/hello", d.sayHello)
	mux.HandleFunc("GET /v1/status", answer(d, "status", d.status))
	mux.HandleFunc("POST /v1/status", answer(d, "status", d.status))
	mux.HandleFunc("POST /v1/mount", answer(d, "mount", d.mountRequest))
	mux.HandleFunc("POST /v1/hold", answer(d, "mount", d.holdRequest))
	mux.HandleFunc("POST /v1/wait", answer(d, uncounted, d.waitRequest))
	mux.HandleFunc("POST /v1/unmount", answer(d, "unmount", d.unmountRequest))
	mux.HandleFunc("POST /v1/list", answer(d, "list", d.listRequest))
	mux.HandleFunc("POST /v1/files", answer(d, "files", d.filesRequest))
	mux.HandleFunc("POST /v1/get", answer(d, "get", d.getRequest))
	mux.HandleFunc("POST /v1/lend", answer(d, "status", d.lendRequest))
	mux.HandleFunc("POST /v1/clean", answer(d, "clean", d.cleanRequest))
	mux.HandleFunc("POST /v1/stop", d.stopRequest)
	return mux
}

func (d *daemon) lendRequest(_ context.Context, req control.LendRequest, _ *reply) (res control.LendResult, err error) {
	key, err := annex.ParseKey(req.Key)
	if err != nil {
		return res, advice.New(advice.Usage, "the request is not understood", err)
	}
	res.File, res.There = d.cache.Lend(key)
	return res, nil
}

func (d *daemon) getRequest(ctx context.Context, req control.GetRequest, r *reply) (control.GetResult, error) {
	return d.downloads.Get(ctx, req, r)
}
