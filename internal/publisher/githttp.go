package publisher

import (
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"strings"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// gitHandler returns what serves a dataset's repository: git's own server
// when there is one (it can do shallow clones), else the files as they are.
func (s *Server) gitHandler(m *maker.Made) http.Handler {
	prefix := gitPrefix + m.Dataset.Name + ".git"
	git := s.gitPath()
	if git == "" {
		return http.StripPrefix(prefix, http.FileServer(http.Dir(m.GitDir)))
	}
	args := []string{"-c", "safe.directory=*"}
	for _, setting := range s.options.GitConfig {
		args = append(args, "-c", setting)
	}
	return &cgi.Handler{
		Path:   git,
		Root:   prefix,
		Args:   append(args, "http-backend"),
		Dir:    m.GitDir,
		Env:    []string{"GIT_PROJECT_ROOT=" + m.GitDir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1"},
		Logger: log.New(io.Discard, "", 0),
		Stderr: io.Discard,
	}
}

// serveGit answers a request of git.
func (s *Server) serveGit(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, gitPrefix), ".git")
	handler, fault := s.gits[name], s.gitFault
	s.mu.Unlock()
	if fault != nil {
		if f := fault(Request{Method: r.Method, Path: r.URL.Path, Header: r.Header}); f != nil {
			reply := page(http.StatusOK, "text/plain", "")
			f(reply)
			s.send(w, r, reply, func() {})
			return
		}
	}
	if handler == nil {
		http.NotFound(w, r)
		return
	}
	if s.link.roundTrip(r.Context()) == nil {
		handler.ServeHTTP(w, r)
	}
}
