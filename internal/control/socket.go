package control

import (
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

// NewServer bounds what a peer can make the daemon keep.
func NewServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           http.MaxBytesHandler(h, 16<<20),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, c)
		},
	}
}

// ReadRequest reads a request to its end, within the time that is for that,
// and then lets the answer take hours. What is not read here could hold the
// connection for ever.
func ReadRequest(w http.ResponseWriter, h *http.Request, req any) error {
	var err error
	if h.Method == http.MethodPost {
		dec := json.NewDecoder(h.Body)
		dec.DisallowUnknownFields()
		if err = dec.Decode(req); err == nil {
			_, err = dec.Token()
		}
		if err == nil {
			err = errors.New("it has more than one value")
		}
	} else {
		_, err = io.Copy(io.Discard, h.Body)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return http.NewResponseController(w).SetReadDeadline(time.Time{})
}
