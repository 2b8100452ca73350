package publisher

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// Options says how a [Server] behaves. The zero value is a fast link
// and the truth.
type Options struct {
	Link Link
	// Git is the path of git; "" looks for it in PATH. Without a git that can
	// serve, or with DumbGit, repositories are served as plain files.
	Git     string
	DumbGit bool
	// GitConfig are settings of a git that serves, such as
	// "uploadpack.allowFilter=true", which lets a client leave objects out.
	GitConfig []string
	// Listing answers paths that end with a slash with a page of links to what
	// is below, as web servers do (and S3 does not).
	Listing bool
	// Certificate makes the server speak HTTPS (and only HTTP/1.1).
	Certificate *tls.Certificate
}

// A Server publishes datasets on 127.0.0.1: their objects as S3 does, below
// any path the datasets' remotes name, and their repositories for git below
// /git/. It is safe for concurrent use.
type Server struct {
	URL string // scheme, host and port, without a slash at the end

	options Options
	http    *http.Server
	link    *link
	count   counts
	end     context.CancelFunc // ends every request
	working sync.WaitGroup     // requests and the server itself

	mu       sync.Mutex // guards the following
	closed   bool
	objects  map[string][]version // by URL path; newest last
	gits     map[string]http.Handler
	fault    func(Request) Fault
	gitFault func(Request) Fault
}

// gitPrefix is the path below which repositories are served.
const gitPrefix = "/git/"

// New starts a server on a free port of 127.0.0.1. Close ends it.
func New(o Options) (*Server, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(context.Background())
	s := &Server{
		URL: "http://" + l.Addr().String(), options: o, link: &link{Link: o.Link},
		end: end, objects: make(map[string][]version), gits: make(map[string]http.Handler),
	}
	s.http = &http.Server{
		Handler:           s,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				s.count.connection()
			}
		},
	}
	if o.Certificate != nil {
		s.URL = "https://" + l.Addr().String()
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*o.Certificate}})
	}
	s.working.Go(func() { s.http.Serve(l) })
	return s, nil
}

// Close ends the server with every reply on its way, and waits for that.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.end()
	err := s.http.Close()
	s.working.Wait()
	return err
}

// Add publishes a dataset: its objects at the URLs its remotes name, its
// repository at [Server.GitURL].
func (s *Server) Add(m *maker.Made) {
	git := s.gitHandler(m)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addObjects(m)
	s.gits[m.Dataset.Name] = git
}

// GitURL returns the URL to clone a dataset from.
func (s *Server) GitURL(m *maker.Made) string { return s.URL + gitPrefix + m.Dataset.Name + ".git" }

// SetLink changes how the link behaves, from the next reply on.
func (s *Server) SetLink(l Link) { s.link.set(l) }

// SetFault makes the server ask f before every reply with an object of S3
// what is to go wrong; nil ends that. f is called concurrently.
func (s *Server) SetFault(f func(Request) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// SetGitFault is the same for replies to git, where a fault replaces the
// whole reply.
func (s *Server) SetGitFault(f func(Request) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gitFault = f
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		cut()
	}
	s.working.Add(1)
	s.mu.Unlock()
	defer s.working.Done()
	if strings.HasPrefix(r.URL.Path, gitPrefix) {
		s.serveGit(w, r)
		return
	}
	req := s.count.begin(r)
	end := sync.OnceFunc(s.count.end)
	defer end()
	reply := s.plan(r, &req)
	s.mu.Lock()
	fault := s.fault
	s.mu.Unlock()
	if fault != nil {
		if f := fault(req); f != nil {
			f(reply)
		}
	}
	s.send(w, r, reply, end)
}

// send sends a reply over the link. It calls last before the last bytes.
func (s *Server) send(w http.ResponseWriter, r *http.Request, reply *Reply, last func()) {
	ctx := r.Context() // ends when the client leaves or the server closes
	out := &meter{w: w, link: s.link, ctx: ctx, count: func(n int) { s.count.sent(r.URL.Path, n) }, last: last}
	err := s.link.roundTrip(ctx)
	if err == nil {
		err = reply.send(out, r.Method == http.MethodHead)
	}
	if err != nil {
		cut() // a reply that is not whole must not look so
	}
}

// cut ends the connection of the reply at hand, as net/http documents it.
func cut() { panic(http.ErrAbortHandler) }

// gitPath returns the git to serve with, or "".
func (s *Server) gitPath() string {
	if s.options.DumbGit {
		return ""
	}
	git := s.options.Git
	if git == "" {
		git = "git"
	}
	path, err := exec.LookPath(git)
	if err != nil {
		return ""
	}
	return path
}
