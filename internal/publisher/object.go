package publisher

import (
	"crypto/sha256"
	"encoding/xml"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// version is one version of an object. There may be millions: what can be
// computed is not kept.
type version struct {
	made   *maker.Made
	remote *maker.Remote
	file   *maker.MadeFile
	commit int // the number of the first commit that has it
}

// id returns the version's id, "" where the bucket keeps no versions.
func (v version) id() string {
	if v.remote.Kind != maker.Versioned {
		return ""
	}
	return v.made.VersionID(v.remote, v.file)
}

func (v version) etag() string {
	return fmt.Sprintf(`"%.32x"`, sha256.Sum256([]byte(v.file.Key.String()+"\x00"+v.file.Path)))
}

func (v version) modified() time.Time { return v.made.CommitTime(v.commit) }

func urlPath(s string) string {
	if u, err := url.Parse(s); err == nil {
		return u.Path
	}
	return s
}

// addObjects registers the objects of all remotes. The lock is held.
func (s *Server) addObjects(m *maker.Made) {
	for k := range m.Dataset.Remotes {
		r := &m.Dataset.Remotes[k]
		base := urlPath(r.URL) + "/" + m.Dataset.Name + "/"
		for i, files := range m.Versions {
			for j := range files {
				f := &files[j]
				if !r.Holds(&f.File) {
					continue
				}
				all := s.objects[base+f.Path]
				switch {
				case r.Kind != maker.Versioned:
					all = nil
				case len(all) > 0 && all[len(all)-1].file.Key == f.Key:
					continue
				}
				s.objects[base+f.Path] = append(all, version{m, r, f, i})
			}
		}
	}
}

// find returns the object's wanted version, or the error S3 would name.
func (s *Server) find(path, id string, versionWanted bool) (version, *s3Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.objects[path]
	if len(all) == 0 {
		return version{}, &s3Error{status: http.StatusNotFound, Code: "NoSuchKey", Message: "The specified key does not exist.", Key: path}
	}
	newest := all[len(all)-1]
	if !versionWanted || newest.id() == "" {
		return newest, nil
	}
	for _, v := range all {
		if v.id() == id {
			return v, nil
		}
	}
	return version{}, &s3Error{status: http.StatusNotFound, Code: "NoSuchVersion", Message: "The specified version does not exist.", Key: path, VersionID: id}
}

// listing is a page of links to what is directly below a directory.
func (s *Server) listing(dir string) *Reply {
	below := make(map[string]bool)
	s.mu.Lock()
	for path := range s.objects {
		if rest, ok := strings.CutPrefix(path, dir); ok {
			name, _, more := strings.Cut(rest, "/")
			if more {
				name += "/"
			}
			below[name] = true
		}
	}
	s.mu.Unlock()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(below)) {
		fmt.Fprintf(&b, "<a href=\"%s\">%s</a>\n", html.EscapeString((&url.URL{Path: name}).EscapedPath()), html.EscapeString(name))
	}
	return page(http.StatusOK, "text/html; charset=utf-8", b.String())
}

// s3Error is an error as S3 sends it.
type s3Error struct {
	XMLName   xml.Name `xml:"Error"`
	Code      string
	Message   string
	Key       string `xml:",omitempty"`
	VersionID string `xml:"VersionId,omitempty"`
	status    int
}

func (e *s3Error) reply() *Reply {
	body, err := xml.Marshal(e)
	if err != nil {
		body = nil
	}
	return page(e.status, "application/xml", xml.Header+string(body))
}

// plan decides on the true reply.
func (s *Server) plan(r *http.Request, req *Request) *Reply {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		e := &s3Error{status: http.StatusMethodNotAllowed, Code: "MethodNotAllowed", Message: "The specified method is not allowed against this resource."}
		return e.reply()
	}
	v, e := s.find(r.URL.Path, req.VersionID, r.URL.Query().Has("versionId"))
	switch {
	case e != nil && s.options.Listing && strings.HasSuffix(r.URL.Path, "/"):
		return s.listing(r.URL.Path)
	case e != nil:
		return e.reply()
	}
	h := http.Header{}
	h.Set("Accept-Ranges", "bytes")
	h.Set("ETag", v.etag())
	h.Set("Last-Modified", v.modified().Format(http.TimeFormat))
	h.Set("Content-Type", "binary/octet-stream")
	if id := v.id(); id != "" {
		h.Set("X-Amz-Version-Id", id)
	}
	reply := &Reply{Header: h}
	if status := precondition(r.Header, v.etag()); status != 0 {
		reply.Status = status
		return reply
	}
	off, n, ranged, ok := parseRange(r.Header, v)
	if !ok {
		e := (&s3Error{status: http.StatusRequestedRangeNotSatisfiable, Code: "InvalidRange", Message: "The requested range is not satisfiable"}).reply()
		e.Header.Set("Content-Range", fmt.Sprintf("bytes */%d", v.file.Content.Size()))
		return e
	}
	req.Offset, req.Length, req.Ranged = off, n, ranged
	reply.Object(v.file.Content, off, n, ranged)
	return reply
}

// precondition returns the status that ends the request, or 0.
func precondition(h http.Header, etag string) int {
	if want := h.Get("If-Match"); want != "" && want != "*" && want != etag {
		return http.StatusPreconditionFailed
	}
	if have := h.Get("If-None-Match"); have == etag {
		return http.StatusNotModified
	}
	return 0
}

// parseRange returns which bytes of the object are wanted. Like S3 it takes
// single ranges only, and sends the whole object for anything else.
func parseRange(h http.Header, v version) (off, n int64, ranged, ok bool) {
	size := v.file.Content.Size()
	spec, isBytes := strings.CutPrefix(h.Get("Range"), "bytes=")
	from, to, isRange := strings.Cut(spec, "-")
	if cond := h.Get("If-Range"); !isBytes || !isRange || cond != "" && cond != v.etag() {
		return 0, size, false, true
	}
	first, err1 := strconv.ParseUint(from, 10, 63)
	last, err2 := strconv.ParseUint(to, 10, 63)
	switch {
	case from == "" && err2 == nil: // the last bytes
		n = min(int64(last), size)
		return size - n, n, true, n > 0
	case err1 == nil && (to == "" || err2 == nil && last >= first):
		if int64(first) >= size {
			return 0, 0, false, false
		}
		off = int64(first)
		n = size - off
		if to != "" {
			n = min(n, int64(last)-off+1)
		}
		return off, n, true, true
	}
	return 0, size, false, true
}
