package publisher

import (
	"net/http"
	"sync"
)

// Counts is what a server was asked and what it sent. Requests of git are not
// in it.
type Counts struct {
	Requests    int   // since the last Reset
	Bytes       int64 // of bodies handed to the network
	Connections int   // opened, git's too
	Concurrent  int   // requests in flight at once, at most
}

// counts counts. Its zero value is ready.
type counts struct {
	mu      sync.Mutex // guards the following
	total   Counts
	flying  int
	objects map[string]*Counts
}

// Counts returns what was counted so far.
func (s *Server) Counts() Counts {
	s.count.mu.Lock()
	defer s.count.mu.Unlock()
	return s.count.total
}

// ObjectCounts returns the same for one object, given by its URL or its URL's
// path (without connections and concurrency).
func (s *Server) ObjectCounts(url string) Counts {
	s.count.mu.Lock()
	defer s.count.mu.Unlock()
	if o := s.count.objects[urlPath(url)]; o != nil {
		return *o
	}
	return Counts{}
}

// ResetCounts starts counting anew.
func (s *Server) ResetCounts() {
	s.count.mu.Lock()
	defer s.count.mu.Unlock()
	s.count.total = Counts{Concurrent: s.count.flying}
	s.count.objects = nil
}

func (c *counts) connection() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total.Connections++
}

// begin counts a request and describes it.
func (c *counts) begin(r *http.Request) Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total.Requests++
	c.flying++
	c.total.Concurrent = max(c.total.Concurrent, c.flying)
	o := c.object(r.URL.Path)
	o.Requests++
	return Request{Method: r.Method, Path: r.URL.Path, VersionID: r.URL.Query().Get("versionId"), Header: r.Header, N: o.Requests}
}

func (c *counts) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flying--
}

func (c *counts) sent(path string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total.Bytes += int64(n)
	c.object(path).Bytes += int64(n)
}

// object returns the counts of one path. The lock is held.
func (c *counts) object(path string) *Counts {
	if c.objects == nil {
		c.objects = make(map[string]*Counts)
	}
	o := c.objects[path]
	if o == nil {
		o = new(Counts)
		c.objects[path] = o
	}
	return o
}
