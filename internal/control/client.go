package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
)

// Client talks to the daemon of one cache.
type Client struct {
	dir     cachedir.Dir
	http    *http.Client
	version string
	run     func() *exec.Cmd
	fit     Fit
	waits   waits
}

// waits bound what a client waits for.
type waits struct {
	start time.Duration // for a daemon to be ready after its start: the time to scan a large cache, and to rebuild an index
	reach time.Duration // for a daemon that will do, however many are started
	word  time.Duration // for an answer that takes no work
	idle  time.Duration // for the end of a daemon that has nothing to do
}

var usualWaits = waits{start: 60 * time.Second, reach: 60 * time.Second, word: 5 * time.Second, idle: DefaultGrace + 5*time.Second}

// settled is how long a daemon has had nothing to do when it is taken to be left alone.
const settled = 500 * time.Millisecond

// Connect reaches the daemon of the cache in dir, starting it when none runs.
// start makes the command that runs a daemon; its standard error goes to the
// cache's log, and what it prints to standard output is an [advice.Error] in JSON or
// "ready". version is this program's: a daemon of another version is replaced
// when it serves nothing and has nothing to do, and refused otherwise; "" takes
// any, for requests that every version understands. A daemon that is stopping
// is waited for, and the next one started, also later by the client's requests. One
// that will not do where it is, as fit says, is replaced when it has served nothing and
// had nothing to do for a moment, and is an [ElsewhereError] otherwise, as is one on
// another host.
func Connect(ctx context.Context, dir cachedir.Dir, version string, fit Fit, start func() *exec.Cmd) (*Client, error) {
	c := newClient(dir, version, start)
	c.fit = fit
	if err := c.reach(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

func newClient(dir cachedir.Dir, version string, start func() *exec.Cmd) *Client {
	return &Client{dir: dir, version: version, run: start, waits: usualWaits, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return Dial(ctx, dir.Socket()) },
		// A kept connection could be one that the daemon is just closing.
		DisableKeepAlives: true,
	}}}
}

// Only returns a client of the same daemon that starts none.
func (c *Client) Only() *Client {
	only := *c
	only.run = nil
	return &only
}

// reach makes sure that a daemon that will do is there.
func (c *Client) reach(ctx context.Context) error {
	if c.run == nil {
		return errors.New("no daemon serves " + string(c.dir))
	}
	if err := c.dir.Make(); err != nil {
		return err
	}
	deadline := time.Now().Add(c.waits.reach)
	var asked time.Time // when one was first asked to end
	away := 0           // how often the lock was seen to be another host's
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		h, err := c.hello(ctx)
		switch {
		case err == nil && (h.Version == c.version || c.version == ""):
			why := c.fit.why(h.Place)
			if why == "" {
				return nil
			}
			switch {
			case h.Mounts > 0, len(h.Work) > 0, !asked.IsZero() && time.Since(asked) > c.waits.idle:
				return elsewhere(c.dir, h.Place, why)
			case h.Idle >= settled: // else whoever began it may be about to ask for something
				if asked.IsZero() {
					asked = time.Now()
				}
				c.stopIdle(ctx)
			}
		case err == nil && (h.Mounts > 0 || len(h.Work) > 0):
			return c.otherVersion(h)
		case err == nil && h.Work == nil:
			if err := c.outlast(ctx, h); err != nil {
				return err
			}
		case err == nil && !asked.IsZero() && time.Since(asked) > c.waits.idle:
			return c.staying(h)
		case err == nil:
			if asked.IsZero() {
				asked = time.Now()
			}
			c.stopIdle(ctx) // it decides: something may have begun since
		case ctx.Err() != nil:
			return advice.New(advice.Interrupted, "interrupted", nil)
		default:
			at, is := onOtherHost(c.dir)
			if is {
				if away++; away > 1 { // a daemon here says so only after it has the lock
					return elsewhere(c.dir, at, "it is on another host")
				}
				break
			}
			if err := c.start(ctx, c.run()); err != nil {
				return err
			}
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return advice.New(advice.Failed, fmt.Sprintf("the daemon of %s does not answer", c.dir), err, "its log tells more: "+c.dir.LogPath())
		}
	}
}

// staying is the error that a daemon of another version does not end, though it
// has nothing to do and was asked to.
func (c *Client) staying(h Hello) error {
	do := []string{"or use another cache with --cache DIR"}
	if h.PID > 1 {
		do = append([]string{fmt.Sprintf("end it: kill %d", h.PID)}, do...)
	}
	return advice.New(advice.Failed, c.versions(h), errors.New("it was asked to end, and does not"), do...)
}

func (c *Client) versions(h Hello) string {
	return fmt.Sprintf("the daemon of %s is version %s, this program %s", c.dir, h.Version, c.version)
}

// otherVersion is the error that a daemon of another version must stay.
func (c *Client) otherVersion(h Hello) error {
	what := c.versions(h)
	if h.Mounts > 0 {
		return advice.New(advice.Failed, what, nil, "take its mounts away with: uniharmonyfs unmount TARGET; then it is replaced", "see what is mounted with: uniharmonyfs status")
	}
	return advice.New(advice.Failed, what, errors.New("it is at work for: "+advice.List(h.Work)), "wait for that command to end, or interrupt it; then it is replaced", "or use another cache with --cache DIR")
}

// outlast waits for the end of a daemon of a version that cannot tell what it
// does, and would stop in the middle of it: left alone, it ends if it does
// nothing.
func (c *Client) outlast(ctx context.Context, h Hello) error {
	for deadline := time.Now().Add(c.waits.idle); time.Now().Before(deadline); {
		if held, err := c.dir.IsLocked(); err != nil || !held {
			return nil
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	h.Work = []string{"something that its version cannot tell"}
	return c.otherVersion(h)
}

func (c *Client) stopIdle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.waits.word)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://cache/v1/stop?if=idle", nil)
	if err != nil {
		return
	}
	if resp, err := c.http.Do(req); err == nil {
		resp.Body.Close()
	}
}

func (c *Client) hello(ctx context.Context) (h Hello, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.waits.word)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://cache/v1/hello", nil)
	if err != nil {
		return h, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return h, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return h, errors.New(resp.Status)
	}
	return h, json.NewDecoder(resp.Body).Decode(&h)
}

// start runs a daemon in a session of its own and waits until it is ready,
// failed, or found that another one is already there.
func (c *Client) start(ctx context.Context, cmd *exec.Cmd) error {
	log, err := c.dir.OpenLog()
	if errors.Is(err, os.ErrNotExist) { // it was removed at this moment by another command
		if err = c.dir.Make(); err == nil {
			log, err = c.dir.OpenLog()
		}
	}
	if err != nil {
		return advice.New(advice.Failed, fmt.Sprintf("cannot use %s as the cache", c.dir), err, cachedir.Elsewhere)
	}
	defer log.Close()
	cmd.Dir = "/"
	cmd.Stderr = log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setsid = true
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return advice.New(advice.Failed, "cannot start the daemon", err)
	}
	said := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(out).ReadString('\n')
		said <- strings.TrimSpace(line)
		cmd.Wait()
	}()
	select {
	case line := <-said:
		var f advice.Error
		switch {
		case line == "ready" || line == "locked":
			return nil
		case json.Unmarshal([]byte(line), &f) == nil && f.What != "":
			return &f
		}
		return advice.New(advice.Failed, "the daemon ended while starting", nil, "its log tells more: "+c.dir.LogPath())
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(c.waits.start):
		return advice.New(advice.Failed, "the daemon does not become ready", nil, "its log tells more: "+c.dir.LogPath())
	}
}

// post sends a request and passes the lines of the answer to on, the one with
// the result last. It returns the daemon's error, if that is how the answer ends.
func (c *Client) post(ctx context.Context, path string, body any, on func(Event) error) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if isLossy(raw) {
		return advice.New(advice.Usage, "a path or a value is not UTF-8", errors.New("a request to the daemon is text"), "name it otherwise, or name a directory above it")
	}
	resp, err := c.send(ctx, path, raw)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return advice.New(advice.Failed, "the daemon refuses the request", errors.New(resp.Status))
	}
	dec := json.NewDecoder(resp.Body)
	for {
		var e Event
		if err := dec.Decode(&e); isNoJSON(err) {
			return c.strange(err)
		} else if err == io.EOF {
			return c.lost(ctx, io.ErrUnexpectedEOF)
		} else if err != nil {
			return c.lost(ctx, err)
		}
		if err := e.check(); err != nil {
			return c.strange(err)
		}
		if e.Fault != nil {
			return e.Fault
		}
		if err := on(e); err != nil || e.Result != nil {
			return err
		}
	}
}

// isNoJSON tells what was said wrongly from what was not said.
func isNoJSON(err error) bool {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	return errors.As(err, &syntax) || errors.As(err, &kind)
}

// strange is the error of an answer that cannot be one.
func (c *Client) strange(err error) error {
	return advice.New(advice.Failed, "the daemon's answer is not understood", err, "its log tells more: "+c.dir.LogPath())
}

// send returns an answer as soon as it begins. A daemon whose answer does not
// begin has done nothing: when it is stopping, or gone, the next one is asked.
func (c *Client) send(ctx context.Context, path string, body []byte) (*http.Response, error) {
	for try := 0; ; try++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://cache"+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		resp, err := c.http.Do(req)
		switch {
		case ctx.Err() != nil || try == 10:
			if err != nil {
				return nil, c.lost(ctx, err)
			}
			return resp, nil
		case err == nil && resp.StatusCode != http.StatusServiceUnavailable:
			return resp, nil
		case err == nil:
			resp.Body.Close()
		}
		if err := c.reach(ctx); err != nil {
			return nil, err
		}
	}
}

func (c *Client) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return advice.New(advice.Interrupted, "interrupted", nil)
	}
	return advice.New(advice.Failed, "the daemon is gone", err, "run the command again: nothing is lost", "its log tells more: "+c.dir.LogPath())
}

// call sends a request whose result is a Res. progress and item may be nil.
func call[Res any](ctx context.Context, c *Client, path string, req any, progress func(Progress), item func(json.RawMessage) error) (res Res, err error) {
	err = c.post(ctx, path, req, func(e Event) error {
		switch {
		case e.Progress != nil && progress != nil:
			progress(*e.Progress)
		case e.Item != nil && item != nil:
			return item(e.Item)
		case e.Result != nil:
			if err := json.Unmarshal(e.Result, &res); err != nil {
				return c.strange(err)
			}
		}
		return nil
	})
	return res, err
}

// List passes the files of a selection to fn, in byte order of their paths.
func (c *Client) List(ctx context.Context, req ListRequest, progress func(Progress), fn func(File) error) (ListResult, error) {
	return call[ListResult](ctx, c, "/v1/list", req, progress, func(raw json.RawMessage) error {
		var f File
		if err := json.Unmarshal(raw, &f); err != nil {
			return c.strange(err)
		}
		restore(&f.Path, f.Exact)
		return fn(f)
	})
}

// Files does something with files.
func (c *Client) Files(ctx context.Context, req FilesRequest, progress func(Progress)) (FilesResult, error) {
	return call[FilesResult](ctx, c, "/v1/files", req, progress, nil)
}

// Get downloads files into a directory. plan is told what is going to happen
// before it does.
func (c *Client) Get(ctx context.Context, req GetRequest, plan func(Plan) error, progress func(Progress)) (GetResult, error) {
	return call[GetResult](ctx, c, "/v1/get", req, progress, func(raw json.RawMessage) error {
		var p Plan
		if err := json.Unmarshal(raw, &p); err != nil {
			return c.strange(err)
		}
		return plan(p)
	})
}

// Status returns the state of the cache.
func (c *Client) Status(ctx context.Context, req StatusRequest) (Status, error) {
	s, err := call[Status](ctx, c, "/v1/status", req, nil, nil)
	for i := range s.Paths {
		restore(&s.Paths[i].Path, s.Paths[i].Exact)
	}
	return s, err
}

// Clean removes hidden clones and what was cached through them. When the
// cache was removed, the daemon is gone on return.
func (c *Client) Clean(ctx context.Context, req CleanRequest) (CleanResult, error) {
	res, err := call[CleanResult](ctx, c, "/v1/clean", req, nil, nil)
	if err == nil && res.Removed {
		err = c.gone(ctx)
	}
	return res, err
}

// StopAndWait has a daemon end that has nothing to do, and waits until it is gone with its
// cache, which is a temporary one.
func (c *Client) StopAndWait(ctx context.Context) error {
	c.stopIdle(ctx)
	return c.gone(ctx)
}

// gone waits until the daemon has removed its cache. The lock is the last
// file to go.
func (c *Client) gone(ctx context.Context) error {
	for range 6000 {
		held, err := c.dir.IsLocked()
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if !held {
			return advice.New(advice.Failed, "the cache could not be removed completely", nil, "its log tells more: "+c.dir.LogPath())
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return advice.New(advice.Failed, "the daemon does not end", nil, "its log tells more: "+c.dir.LogPath())
}

// MountOf returns the cache that serves the mount at target, also when its
// daemon is dead. ok is false when no mount of ours is there.
func MountOf(target string) (dir cachedir.Dir, ok bool, err error) {
	mounts, err := fs.ListMounts()
	for _, m := range mounts {
		if m.Target == target {
			dir, ok = cachedir.OfMount(m.FsName)
		}
	}
	return dir, ok, err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
