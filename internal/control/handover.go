package control

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Offer offers an open file to the daemon of a cache, at a socket in the cache
// directory, which goes when close is called.
func (c *Client) Offer(f *os.File) (path string, close func(), err error) {
	if err := os.Mkdir(c.dir.Offers(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", nil, err
	}
	path = filepath.Join(c.dir.Offers(), rand.Text()[:8])
	l, err := Listen(path)
	if err != nil {
		return "", nil, err
	}
	go func() {
		for {
			peer, err := l.Accept()
			if err != nil {
				return
			}
			if u, ok := peer.(*net.UnixConn); ok && peerIsMe(peer) == nil {
				u.WriteMsgUnix([]byte{0}, unix.UnixRights(int(f.Fd())), nil)
			}
			peer.Close()
		}
	}()
	return path, func() { l.Close(); os.Remove(path) }, nil
}

// Take takes the file that is offered at a path.
func Take(ctx context.Context, path string) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, takeTime)
	defer cancel()
	peer, err := Dial(ctx, path)
	if err != nil {
		return nil, err
	}
	defer peer.Close()
	peer.SetDeadline(time.Now().Add(takeTime))
	u, ok := peer.(*net.UnixConn)
	if !ok {
		return nil, errOtherUser
	}
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := u.ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return nil, errors.Join(errors.New("no file is offered"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.Join(errors.New("no file is offered"), err)
	}
	unix.CloseOnExec(fds[0])
	return os.NewFile(uintptr(fds[0]), path), nil
}

// takeTime bounds the taking of a file: whoever offers it waits for that.
const takeTime = 10 * time.Second
