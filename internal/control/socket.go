package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"golang.org/x/sys/unix"
)

// A unix socket's path may have 107 bytes; longer ones are reached through
// the descriptor of their directory.
const maxSocketPath = 107

func shortPath(path string) (short string, release func(), err error) {
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), func() { dir.Close() }, nil
}

// Listen makes the control socket. The caller holds the cache's lock, so a
// socket that is there belongs to a daemon that is gone.
func Listen(path string) (net.Listener, error) {
	if st, err := os.Lstat(path); err == nil {
		if st.Mode()&os.ModeSocket == 0 {
			return nil, advice.New(advice.Failed, "cannot make the control socket", fmt.Errorf("%s is there and is no socket", path), "remove it")
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	short, release, err := shortPath(path)
	if err != nil {
		return nil, err
	}
	defer release()
	l, err := net.Listen("unix", short)
	if err != nil {
		return nil, advice.New(advice.Failed, "cannot make the control socket", err, "choose a cache on a local file system with --cache DIR")
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Dial connects to a control socket, which must be a socket of the owner.
func Dial(ctx context.Context, path string) (net.Conn, error) {
	short, release, err := shortPath(path)
	if err != nil {
		return nil, err
	}
	defer release()
	// A link could lead to somebody else's.
	if st, err := os.Lstat(short); err != nil {
		return nil, err
	} else if st.Mode()&os.ModeSocket == 0 {
		return nil, fmt.Errorf("%s is no socket", path)
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", short)
	if err != nil {
		return nil, err
	}
	if err := peerIsMe(c); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

var errOtherUser = errors.New("who is at the other end of the control socket is not the owner of the cache")

// peerIsMe checks who is on the other end of the control socket.
func peerIsMe(c net.Conn) error {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return errOtherUser
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, credErr); err != nil {
		return err
	}
	if uid := int(cred.Uid); uid != os.Geteuid() && uid != 0 {
		return errOtherUser
	}
	return nil
}

// maxRequest is how large a request's body may be, in bytes.
const maxRequest = 16 << 20

// NewServer bounds what a peer can make the daemon keep. Behind [NewPeers] a
// connection is kept from the moment its request was read until all of the answer
// was sent.
func NewServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: http.MaxBytesHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// Those with a body are kept when it was read.
			if r.ContentLength == 0 && !keep(r) {
				return
			}
			h.ServeHTTP(w, r)
		}), maxRequest),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, c)
		},
		ConnState: func(c net.Conn, is http.ConnState) {
			if p, ok := c.(*peer); ok && is == http.StateIdle {
				p.ask(false)
			}
		},
	}
}

// ReadRequest reads a request to its end, within the time that is for that,
// and then lets the answer take hours. What is not read here could hold the
// connection for ever. A body that does not say exactly what is meant is an
// error.
func ReadRequest(w http.ResponseWriter, h *http.Request, req any) error {
	body, err := io.ReadAll(h.Body)
	if err != nil {
		return err
	}
	if !keep(h) {
		return net.ErrClosed
	}
	if h.Method == http.MethodPost && len(bytes.TrimSpace(body)) > 0 {
		if err := decode(body, req); err != nil {
			return err
		}
	}
	return http.NewResponseController(w).SetReadDeadline(time.Time{})
}

// decode reads one value that has no other fields than req has.
func decode(body []byte, req any) error {
	// The decoder would put another character in its place: another path.
	if !isExact(body) {
		return errors.New("it is not UTF-8 throughout: a path that is not cannot be named, but a directory above it can")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(req); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("it has more than one value")
	}
	return nil
}
