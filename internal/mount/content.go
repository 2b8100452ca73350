package mount

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// inMemory is the size in bytes up to which a file of git is served from
// memory; larger ones pass through the cache like annexed ones.
const inMemory = 1 << 20

// OpenContent opens a file of the part. It reads nothing.
func (p *Part) OpenContent(node int) (fs.Content, error) {
	v := p.version
	if content, ok := p.shown.view.Content(node); ok {
		return synthesised{bytes.NewReader(content)}, nil
	}
	if v.Kind(node) == tree.Git && v.Size(node) <= inMemory {
		return &blob{git: v.Blobs(node), id: gitstore.OID(v.Key(node).Name()), size: v.Size(node)}, nil
	}
	if local := v.OpenInPlace(node); local != nil {
		if !local.IsLent() {
			return local, nil
		}
		return &lent{InPlace: local, otherwise: func() (fs.Content, error) { return p.openCached(node) }}, nil
	}
	return p.openCached(node)
}

// openCached opens a file by way of the cache.
func (p *Part) openCached(node int) (fs.Content, error) {
	v := p.version
	use, err := p.Use(node)
	if err != nil {
		return nil, err
	}
	h, err := p.m.Cache.Open(v.Key(node), use)
	if err != nil {
		return nil, err
	}
	if p.known != nil {
		return p.known.watch(node, h), nil
	}
	return h, nil
}

// Use says how the mount's readers want a file.
func (p *Part) Use(node int) (cache.Use, error) {
	of, err := p.uses()
	if err != nil {
		return cache.Use{}, err
	}
	use := of(node)
	use.Name = p.pathOf(node)
	return use, nil
}

// Revoke has the kernel forget what it keeps of a key for the files of a dataset, or
// of all: "". It waits until it is known whether the mount is there.
func (m *Mount) Revoke(key annex.Key, dataset string) {
	if dataset != "" && !m.has(dataset) {
		return
	}
	<-m.attached
	if m.served == nil {
		return
	}
	m.Part.revoke(key, dataset)
	for _, e := range m.entered() {
		if dataset != "" && !slices.Contains(e.datasets, dataset) {
			continue
		}
		p, err := e.get(context.Background())
		if err != nil {
			m.Log.Error("the kernel may keep wrong content", "target", m.Target(), "path", e.told.Path, "err", err)
			continue
		}
		p.revoke(key, dataset)
	}
}

func (p *Part) revoke(key annex.Key, dataset string) {
	for _, n := range p.version.WithKey(key) {
		if of, _ := p.version.Of(n); dataset == "" || of.ID() == dataset {
			p.m.served.Revoke(p.path, n)
		}
	}
}

// lent is content in another cache. Where that turns out to be wrong, it is read
// otherwise: what was read before was right.
type lent struct {
	*cache.InPlace
	otherwise func() (fs.Content, error)

	mu      sync.Mutex // guards the following
	instead fs.Content
}

func (l *lent) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if instead := l.other(); instead != nil {
		return instead.ReadAt(ctx, p, off)
	}
	n, err := l.InPlace.ReadAt(ctx, p, off)
	if !errors.Is(err, cache.ErrMismatch) {
		return n, err
	}
	instead, err := l.open()
	if err != nil {
		return 0, err
	}
	return instead.ReadAt(ctx, p, off)
}

func (l *lent) other() fs.Content {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.instead
}

func (l *lent) open() (instead fs.Content, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.instead == nil {
		l.instead, err = l.otherwise()
	}
	return l.instead, err
}

func (l *lent) File() *os.File {
	if instead := l.other(); instead != nil {
		return instead.File()
	}
	return l.InPlace.File()
}

func (l *lent) Close() error {
	err := l.InPlace.Close()
	if instead := l.other(); instead != nil {
		err = errors.Join(err, instead.Close())
	}
	return err
}

// synthesised is content made for the view.
type synthesised struct{ *bytes.Reader }

func (s synthesised) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	return s.Reader.ReadAt(p, off)
}
func (synthesised) File() *os.File { return nil }
func (synthesised) Close() error   { return nil }

// blob is a small file of git, read at the first read.
type blob struct {
	git  *gitstore.Store
	id   gitstore.OID
	size int64

	mu   sync.Mutex // guards the following
	data []byte
}

func (b *blob) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	data, err := b.load(ctx)
	if err != nil {
		return 0, err
	}
	if off >= int64(len(data)) {
		return 0, io.EOF
	}
	n := copy(p, data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (b *blob) load(ctx context.Context) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.data != nil || b.size == 0 {
		return b.data, nil
	}
	_, data, err := b.git.Read(ctx, b.id)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) != b.size {
		return nil, fmt.Errorf("%w: blob %s has %d bytes, not %d", gitstore.ErrDamaged, b.id, len(data), b.size)
	}
	b.data = data
	return data, nil
}

func (b *blob) File() *os.File { return nil }
func (b *blob) Close() error   { return nil }

// Names and Read are the files of the hidden directory in the mount.
func (m *Mount) Names() []string {
	return []string{"dataset", "errors", "selection", "status", "synthesised"}
}

func (m *Mount) Read(name string) ([]byte, error) {
	show := func(v any) ([]byte, error) {
		out, err := json.MarshalIndent(v, "", "  ")
		return append(out, '\n'), err
	}
	switch name {
	case "dataset":
		return show(map[string]any{
			"dataset": m.version.Spec(), "version": m.version.Request.Version, "commit": m.version.Commit,
			"time": m.version.Time, "hidden": m.version.Hidden,
		})
	case "errors":
		var b strings.Builder
		for _, e := range m.Cache.Status().Errors {
			if e.Dataset != "" && !m.has(e.Dataset) {
				continue
			}
			fmt.Fprintf(&b, "%s %s: %s\n", e.Time.Format("2006-01-02T15:04:05Z07:00"), e.Name, e.Text)
		}
		return []byte(b.String()), nil
	case "selection":
		return show(m.request.Selection)
	case "status":
		if <-m.attached; m.served == nil { // who is fast asks before Serve knows
			return nil, errors.New("it is not mounted")
		}
		return show(m.Info())
	case "synthesised":
		var b strings.Builder
		for _, n := range m.shown.files {
			if _, ok := m.shown.view.Content(n); ok {
				b.WriteString(m.version.Path(n) + "\n")
			}
		}
		return []byte(b.String()), nil
	}
	return nil, iofs.ErrNotExist
}
