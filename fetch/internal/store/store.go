package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/web"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/plain"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// A Store is a place that has keys, each in one of several ways. It is safe for
// concurrent use.
type Store struct {
	name string
	ways []way
	good atomic.Int32 // the way in which a key was found last

	archive *archive // one of the ways; or nil
}

// A way is one manner in which a store may keep keys. label says where, source how it
// is had.
type way struct {
	label  func(key annex.Key) string
	source func(key annex.Key) source.Source
}

// Name returns what a store is called that is at a URL, or a path. It has no password.
func Name(at string) string { return "the store " + shown(at) }

// shown returns a URL, or a path, for people to see.
func shown(at string) string {
	if u, err := url.Parse(at); err == nil && u.User != nil {
		u.User = nil
		at = u.String()
	}
	return plain.Short(at, web.MaxURL)
}

// URLs returns the store below a URL where a key may be at one of n places, of which
// urls tells all: as many for every key, in the same order.
func URLs(c *web.Client, base string, n int, urls func(annex.Key) []string) *Store {
	s := &Store{name: Name(base)}
	for i := range n {
		at := func(key annex.Key) string {
			if all := urls(key); i < len(all) {
				return all[i]
			}
			return ""
		}
		s.ways = append(s.ways, way{
			label: func(key annex.Key) string { return label(base, at(key)) },
			source: func(key annex.Key) source.Source {
				size, _ := key.Size()
				return c.Source(at(key), size, false)
			},
		})
	}
	return s
}

// label returns which of a store's places for keys a URL is, in few words.
func label(base, url string) string {
	elements := strings.Split(strings.TrimLeft(strings.TrimPrefix(url, base), "/"), "/")
	for i, e := range elements {
		if len(e) > len("objects") { // longer than the names of directories
			elements[i] = "KEY"
		}
	}
	return strings.Join(elements, "/")
}

// Objects returns the store in the directory of a bare repository at a URL, where
// objects lie in either way that git-annex hashes them, or in an archive beside, as in
// RIA stores.
func Objects(c *web.Client, base string) *Store {
	s := URLs(c, base, 2, func(key annex.Key) (urls []string) {
		file := key.FileName()
		for _, dir := range []string{key.HashDirMixed(), key.HashDirLower()} {
			if url, ok := annex.ObjectURL(base, "annex/objects/"+dir+"/"+file+"/"+file); ok {
				urls = append(urls, url)
			}
		}
		return urls
	})
	if url, ok := annex.ObjectURL(base, archivePath); ok {
		s.keepIn(remoteFile(c, url))
	}
	return s
}

// Archive returns the store that is the archive in a RIA store's directory on this
// machine.
func Archive(dir string) *Store {
	s := &Store{name: Name(dir)}
	s.keepIn(localFile(dir))
	return s
}

// keepIn adds the way to have keys in an archive.
func (s *Store) keepIn(f file) {
	s.archive = newArchive(f)
	s.ways = append(s.ways, way{label: func(annex.Key) string { return archivePath }, source: s.archive.member})
}

// sharing has the store share the memory for lists of archives.
func (s *Store) sharing(with *lists) *Store {
	if s.archive != nil {
		s.archive.lists = with
	}
	return s
}

// Source returns the store as the source of a key.
func (s *Store) Source(key annex.Key) source.Source { return &held{s: s, key: key} }

// held is a store as the source of a key.
type held struct {
	s   *Store
	key annex.Key
}

func (h *held) String() string { return h.s.name }
func (h *held) Exact() bool    { return false }

// Fetch looks for the key in each way. Once a byte has come, the way is not left.
func (h *held) Fetch(ctx context.Context, off, n int64, w io.Writer) error {
	if off < 0 || n < 0 {
		return fmt.Errorf("bytes %d to %d", off, off+n)
	}
	out := &counted{w: w}
	var failed failures
	for _, i := range h.s.order() {
		way := h.s.ways[i]
		err := way.source(h.key).Fetch(ctx, off, n, out)
		if err == nil {
			if n > 0 {
				h.s.good.Store(int32(i))
			}
			return nil
		}
		if ctx.Err() != nil || out.err != nil || out.n > 0 || source.IsOutage(err) || errors.Is(err, source.ErrWholeOnly) {
			return err
		}
		failed = append(failed, failure{way.label(h.key), err})
	}
	return failed
}

// failures say how each way failed.
type failures []failure

type failure struct {
	label string
	err   error
}

// Error says what is the same of several ways once.
func (f failures) Error() string {
	var texts []string
	at := make(map[string][]string)
	for _, one := range f {
		text := one.err.Error()
		if at[text] == nil {
			texts = append(texts, text)
		}
		at[text] = append(at[text], one.label)
	}
	for i, text := range texts {
		texts[i] = fmt.Sprintf("%s (%s)", text, strings.Join(at[text], ", "))
	}
	return strings.Join(texts, "; ")
}

func (f failures) Unwrap() []error {
	all := make([]error, len(f))
	for i, one := range f {
		all[i] = one.err
	}
	return all
}

// order returns the ways, the one that was right last first.
func (s *Store) order() []int {
	order := make([]int, 0, len(s.ways))
	good := int(s.good.Load())
	for i := range s.ways {
		order = append(order, i)
	}
	return slices.Insert(slices.Delete(order, good, good+1), 0, good)
}

// counted passes on, and keeps count and the error of whoever takes it.
type counted struct {
	w   io.Writer
	n   int64
	err error
}

func (c *counted) Write(p []byte) (n int, err error) {
	n, c.err = c.w.Write(p)
	c.n += int64(n)
	return n, c.err
}

var errNotThere = errors.New("it does not have it")
