package web

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/remedy"
)

// Tunnel connects programs of ours, such as git, to public addresses and those that
// are allowed: it is their proxy (SOCKS 5, on the loopback address). So what they are
// told to connect to is checked after names were resolved and at every redirect, as
// it is for a [Client]. It serves processes of the same user only, and is safe for
// concurrent use.
type Tunnel struct {
	listener *net.TCPListener
	allowed  addresses
	dialer   *net.Dialer
	ctx      context.Context // ends with Close
	stop     context.CancelFunc
	work     sync.WaitGroup
	places   chan struct{} // of connections

	mu     sync.Mutex       // guards the following
	failed map[string]error // by host
}

const (
	maxTunnelled = 256 // connections at once
	maxFailed    = 1000
	greetTime    = 10 * time.Second
)

// NewTunnel begins to listen. allow is as in [Options]; the error says which cannot be
// used.
func NewTunnel(allow []string) (*Tunnel, error) {
	allowed, err := parseAddresses(allow)
	if err != nil {
		return nil, err
	}
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	t := &Tunnel{
		listener: l, allowed: allowed, places: make(chan struct{}, maxTunnelled), failed: make(map[string]error),
		dialer: &net.Dialer{Timeout: 20 * time.Second, KeepAlive: 15 * time.Second, Control: allowed.control},
	}
	t.ctx, t.stop = context.WithCancel(context.Background())
	t.work.Go(t.accept)
	return t, nil
}

// URL is what git and curl call the proxy by.
func (t *Tunnel) URL() string { return "socks5h://" + t.listener.Addr().String() }

// Close ends all connections and waits for that.
func (t *Tunnel) Close() {
	t.stop()
	t.listener.Close()
	t.work.Wait()
}

// Failure returns why a host was not connected to when that was last tried, or nil.
// That its address is not allowed is an [ErrAddress].
func (t *Tunnel) Failure(host string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed[strings.ToLower(host)]
}

func (t *Tunnel) accept() {
	for {
		c, err := t.listener.AcceptTCP()
		if err != nil {
			if t.ctx.Err() != nil {
				return
			}
			time.Sleep(50 * time.Millisecond) // of descriptors there may be too few
			continue
		}
		select {
		case t.places <- struct{}{}:
		default:
			c.Close()
			continue
		}
		t.work.Go(func() {
			defer func() {
				recover() // a fault ends this connection only
				c.Close()
				<-t.places
			}()
			t.serve(c)
		})
	}
}

func (t *Tunnel) serve(c *net.TCPConn) {
	stop := context.AfterFunc(t.ctx, func() { c.Close() })
	defer stop()
	c.SetDeadline(time.Now().Add(greetTime))
	if !isOurs(c) {
		return
	}
	r := bufio.NewReaderSize(c, 512)
	to, err := greet(r, c)
	if err != nil {
		return
	}
	c.SetDeadline(time.Time{})
	out, err := t.dial(to)
	if err != nil {
		const notAllowed, unreachable = 2, 4
		code := byte(unreachable)
		if errors.Is(err, ErrAddress) {
			code = notAllowed
		}
		c.Write([]byte{5, code, 0, 1, 0, 0, 0, 0, 0, 0})
		return
	}
	defer out.Close()
	defer context.AfterFunc(t.ctx, func() { out.Close() })()
	if _, err := c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}); err != nil {
		return
	}
	back := make(chan struct{})
	go func() {
		defer close(back)
		defer func() { recover() }()
		io.Copy(c, out)
		c.CloseWrite()
	}()
	io.Copy(out, r)
	out.Close() // who has ended waits for nothing more; the server might never end
	<-back
}

// greet reads what a client of SOCKS 5 wants to connect to, as host:port.
func greet(r *bufio.Reader, w io.Writer) (to string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil || head[0] != 5 {
		return "", errors.New("not SOCKS 5")
	}
	if _, err := r.Discard(int(head[1])); err != nil {
		return "", err
	}
	if _, err := w.Write([]byte{5, 0}); err != nil {
		return "", err
	}
	var request [4]byte
	if _, err := io.ReadFull(r, request[:]); err != nil || request[0] != 5 || request[1] != 1 {
		return "", errors.New("no request to connect")
	}
	length := map[byte]int{1: net.IPv4len, 4: net.IPv6len}[request[3]]
	if request[3] == 3 {
		n, err := r.ReadByte()
		if err != nil {
			return "", err
		}
		length = int(n)
	}
	address := make([]byte, length+2)
	if _, err := io.ReadFull(r, address); err != nil || length == 0 {
		return "", errors.New("no address")
	}
	host := string(address[:length])
	if ip, ok := netip.AddrFromSlice(address[:length]); ok && request[3] != 3 {
		host = ip.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(address[length:])))), nil
}

// dial connects, and remembers where that failed.
func (t *Tunnel) dial(to string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(to)
	err := t.allowed.checkHost(host)
	var out net.Conn
	if err == nil {
		out, err = t.dialer.DialContext(t.ctx, "tcp", to)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if host = strings.ToLower(host); err == nil {
		delete(t.failed, host)
	} else if len(t.failed) < maxFailed || t.failed[host] != nil {
		t.failed[host] = remedy.Harmless(err)
	}
	return out, err
}

// isOurs reports whether a process of this user is at the other end.
func isOurs(c *net.TCPConn) bool {
	there, ok1 := c.RemoteAddr().(*net.TCPAddr)
	here, ok2 := c.LocalAddr().(*net.TCPAddr)
	if !ok1 || !ok2 {
		return false
	}
	f, err := os.Open("/proc/net/tcp")
	if err != nil {
		return false
	}
	defer f.Close()
	from, to := fmt.Sprintf(":%04X", there.Port), fmt.Sprintf(":%04X", here.Port)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// number, local address, remote address, state, two of queues, timer, user
		fields := strings.Fields(lines.Text())
		if len(fields) > 7 && strings.HasSuffix(fields[1], from) && strings.HasSuffix(fields[2], to) {
			return fields[7] == strconv.Itoa(os.Getuid())
		}
	}
	return false
}
