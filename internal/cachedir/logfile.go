package cachedir

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// logLimit is how large a log grows, in bytes, before a new one is begun.
	// The one before it is kept.
	logLimit = 8 << 20

	// repeatEvery is how often a line that is said over and over is written.
	repeatEvery = 10 * time.Second
)

// OpenLog opens the cache's log for appending, beginning a new one when it
// has grown beyond 8 MiB (the previous one is kept as daemon.log.old).
func (d Dir) OpenLog() (*os.File, error) {
	if st, err := os.Stat(d.LogPath()); err == nil && st.Size() > logLimit {
		os.Rename(d.LogPath(), d.LogPath()+".old")
	}
	return os.OpenFile(filepath.Clean(d.LogPath()), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// Log returns a writer of lines to the cache's log, which is open as to, the
// standard error of the daemon. When the log has grown beyond 8 MiB a new one
// takes its place, also as the standard error, so that the last words of a
// daemon that dies are in it. Lines that repeat each other are counted. Write
// never fails: what a full disk does not take is lost. It is safe for
// concurrent use. When to is another file, it is written to as it is.
func (d Dir) Log(to *os.File) io.Writer {
	return &logFile{path: d.LogPath(), to: to, limit: logLimit, every: repeatEvery, ours: sameFile(to, d.LogPath())}
}

type logFile struct {
	path  string
	to    *os.File
	limit int64
	every time.Duration
	ours  bool // to was the file at path

	mu       sync.Mutex // guards the following
	last     []byte     // line, without its time
	at       time.Time  // when it was written
	repeated int        // since then
}

func (l *logFile) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, said, _ := bytes.Cut(line, []byte(" ")) // what is first is the time
	if len(said) > 0 && bytes.Equal(said, l.last) && time.Since(l.at) < l.every {
		l.repeated++
		return len(line), nil
	}
	if l.repeated > 0 {
		l.put(fmt.Appendf(nil, "the line above was repeated %d times\n", l.repeated))
	}
	l.last, l.at, l.repeated = bytes.Clone(said), time.Now(), 0
	l.put(line)
	return len(line), nil
}

func (l *logFile) put(line []byte) {
	if l.ours {
		l.follow()
	}
	l.to.Write(line)
}

// follow begins a new log when this one is full, and takes up the one that
// somebody else began.
func (l *logFile) follow() {
	st, err := l.to.Stat()
	if err != nil {
		return
	}
	there, err := os.Lstat(l.path)
	switch {
	case err != nil && st.Size() > l.limit:
		// Whoever removed the log wants no other, nor a hidden one that grows.
		l.to.Truncate(0)
		return
	case err != nil:
		return
	case os.SameFile(st, there) && st.Size() <= l.limit:
		return
	case os.SameFile(st, there):
		if os.Rename(l.path, l.path+".old") != nil {
			return
		}
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	unix.Dup3(int(f.Fd()), int(l.to.Fd()), 0)
}

func sameFile(f *os.File, path string) bool {
	st, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(st, there)
}
