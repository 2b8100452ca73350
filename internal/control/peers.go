package control

import (
	"net"
	"net/http"
	"slices"
	"sync"
)

// peers accepts connections of the owner only, and bounds how many there are:
// when there are too many, the one goes that has been without a request for
// longest. Nobody who opens connections, or sends requests in crumbs, keeps
// others out.
type peers struct {
	net.Listener
	most int

	mu   sync.Mutex // guards the following and the fields of each peer
	all  []*peer    // oldest first
	room sync.Cond
}

type peer struct {
	net.Conn
	of     *peers
	asking bool // a request of it is being answered
	gone   bool
}

// MaxConnections is how many a daemon keeps at a time.
const MaxConnections = 128

// NewPeers returns a listener of at most so many connections of the owner.
func NewPeers(l net.Listener, most int) *peers {
	p := &peers{Listener: l, most: most}
	p.room.L = &p.mu
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
		return p.admit(c), nil
	}
}

func (p *peers) admit(c net.Conn) *peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.all) >= p.most {
		i := slices.IndexFunc(p.all, func(o *peer) bool { return !o.asking })
		if i < 0 {
			p.room.Wait()
			continue
		}
		p.remove(p.all[i])
	}
	new := &peer{Conn: c, of: p}
	p.all = append(p.all, new)
	return new
}

// remove is called with mu held.
func (p *peers) remove(o *peer) error {
	if o.gone {
		return nil
	}
	o.gone = true
	p.all = slices.DeleteFunc(p.all, func(x *peer) bool { return x == o })
	p.room.Broadcast()
	return o.Conn.Close()
}

func (o *peer) Close() error {
	o.of.mu.Lock()
	defer o.of.mu.Unlock()
	return o.of.remove(o)
}

func (o *peer) ask(asking bool) {
	o.of.mu.Lock()
	defer o.of.mu.Unlock()
	o.asking = asking
	o.of.room.Broadcast()
}

type peerKey struct{}

// Keep keeps a request's connection until the returned function is called.
func Keep(h *http.Request) (release func()) {
	o, ok := h.Context().Value(peerKey{}).(*peer)
	if !ok {
		return func() {}
	}
	o.ask(true)
	return func() { o.ask(false) }
}
