package control

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
)

// peers accepts connections of the owner only, and bounds how many there are:
// when there are too many, the one goes that has been without a request for
// longest. Nobody who opens connections, or sends requests in crumbs, keeps
// others out. One whose request was read is never closed for another: while all
// there may be are such, the newest waits. Those of whom [Lasts] says that their
// request may last for days do not count among them, and have a bound of their own.
type peers struct {
	net.Listener
	most int

	mu      sync.Mutex // guards the following and the fields of each peer
	all     []*peer    // what has been without a request for longest comes first
	lasting int        // how many of all do not count
	closed  bool
	change  sync.Cond
}

type peer struct {
	net.Conn
	of     *peers
	asking bool // its request was read, and the answer is not sent to its end
	lasts  bool // and that may be in days
	gone   bool
}

const (
	// MaxConnections is how many a daemon keeps at a time, but for those that last.
	MaxConnections = 128
	// maxLasting is how many of those there are for one of the others.
	maxLasting = 8
)

// NewPeers returns a listener of at most so many connections of the owner, to be
// served by [NewServer].
func NewPeers(l net.Listener, most int) net.Listener {
	p := &peers{Listener: l, most: most}
	p.change.L = &p.mu
	return p
}

// Accept waits while every connection there may be is being answered.
func (p *peers) Accept() (net.Conn, error) {
	for {
		c, err := p.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if peerIsMe(c) != nil {
			c.Close()
			continue
		}
		return p.admit(c)
	}
}

// Close ends Accept, also while it waits.
func (p *peers) Close() error {
	p.mu.Lock()
	p.closed = true
	p.change.Broadcast()
	p.mu.Unlock()
	return p.Listener.Close()
}

func (p *peers) admit(c net.Conn) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.all)-p.lasting >= p.most {
		if p.closed {
			c.Close()
			return nil, net.ErrClosed
		}
		i := slices.IndexFunc(p.all, func(o *peer) bool { return !o.asking })
		if i < 0 {
			p.change.Wait()
			continue
		}
		p.remove(p.all[i])
	}
	new := &peer{Conn: c, of: p}
	p.all = append(p.all, new)
	return new, nil
}

// remove is called with mu held.
func (p *peers) remove(o *peer) error {
	if o.gone {
		return nil
	}
	o.gone = true
	o.count()
	p.all = slices.DeleteFunc(p.all, func(x *peer) bool { return x == o })
	p.change.Broadcast()
	return o.Conn.Close()
}

func (o *peer) Close() error {
	o.of.mu.Lock()
	defer o.of.mu.Unlock()
	return o.of.remove(o)
}

// ask reports whether the connection is still there.
func (o *peer) ask(asking bool) (there bool) {
	o.of.mu.Lock()
	defer o.of.mu.Unlock()
	if o.asking && !asking && !o.gone { // it has just been served
		o.of.all = append(slices.DeleteFunc(o.of.all, func(x *peer) bool { return x == o }), o)
	}
	if o.asking = asking; !asking {
		o.count()
	}
	o.of.change.Broadcast()
	return !o.gone
}

// count has a connection count again; it is called with mu held.
func (o *peer) count() {
	if o.lasts {
		o.lasts = false
		o.of.lasting--
	}
}

type peerKey struct{}

// Lasts says that the request of a context waits for something that may come in
// days: its connection keeps nobody else waiting meanwhile. There is a bound to how
// many such requests there are, beyond which it is an error.
func Lasts(ctx context.Context) error {
	o, is := ctx.Value(peerKey{}).(*peer)
	if !is {
		return nil
	}
	p := o.of
	p.mu.Lock()
	defer p.mu.Unlock()
	if o.lasts || o.gone {
		return nil
	}
	if most := maxLasting * p.most; p.lasting >= most {
		return advice.New(advice.Failed, "too many commands wait for mounts to end", fmt.Errorf("%d do", most), "what is mounted stays: uniharmonyfs unmount takes it away", "mount without --foreground, or use another cache with --cache DIR")
	}
	o.lasts = true
	p.lasting++
	p.change.Broadcast()
	return nil
}

// keep keeps a request's connection until its answer is sent; ok is false when it
// was closed for another at this moment.
func keep(h *http.Request) (ok bool) {
	o, is := h.Context().Value(peerKey{}).(*peer)
	return !is || o.ask(true)
}
