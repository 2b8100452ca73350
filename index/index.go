package index

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

const (
	// format is the layout of keys and values; another one is rebuilt.
	format = "2\n"

	// A database whose opening killed the process this often within this time
	// is moved aside.
	crashes     = 3
	crashWindow = time.Minute
)

// Options tune Open. The zero value works.
type Options struct {
	// Check opens the database in another process and reports what is wrong
	// with it: a damaged Badger can take its process down, or hang. It is
	// called only after an unclean stop, when a process died in opening it, and
	// when its files are not what a clean stop has left. nil checks nothing. See
	// [Check].
	Check func(dir string) error

	Log *slog.Logger
}

// Index is an open index; see the package comment.
type Index struct {
	dir    string
	db     *badger.DB
	memory bool
	log    *slog.Logger

	saving sync.WaitGroup // what is saved in the background
	ending sync.Mutex     // guards the following; a leaf
	closed bool           // nothing begins to be saved in the background
}

// Open opens the index below dir, making it when it is missing and rebuilding
// it empty when it is damaged, unreadable, or of another format. It fails
// only when dir cannot be made at all. One process may have it open.
func Open(dir string, o Options) (*Index, error) {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	x := &Index{dir: dir, log: log}
	// Badger's files are only as private as the directory they lie in.
	if err := os.Chmod(dir, 0o700); err != nil {
		log.Warn("the index is kept in memory", "why", err)
		return x, x.openMemory()
	}
	if err := roomToOpen(dir); err != nil {
		log.Warn("the index is kept in memory", "why", err)
		return x, x.openMemory()
	}
	if why := unfit(dir, o.Check); why != nil {
		log.Warn("index is rebuilt", "dir", dir, "why", why)
		if err := setAside(dir); err != nil {
			log.Warn("index is kept in memory", "why", err)
			return x, x.openMemory()
		}
	}
	if err := x.openDisk(); err != nil {
		log.Warn("index is rebuilt", "dir", dir, "why", err)
		if err = setAside(dir); err == nil {
			err = x.openDisk()
		}
		if err != nil {
			log.Warn("index is kept in memory", "why", err)
			return x, x.openMemory()
		}
	}
	return x, nil
}

// closeTimeout bounds Close: on a disk that fails, Badger tries to flush for
// ever. What it could not write is found again.
const closeTimeout = 10 * time.Second

// Close flushes and closes the index and marks it as cleanly stopped. On a full
// disk it lets go of the index as it is, and the next start checks it.
func (x *Index) Close() error {
	x.ending.Lock()
	x.closed = true
	x.ending.Unlock()
	closed := make(chan error, 1)
	go func() {
		x.saving.Wait()
		closed <- x.close()
	}()
	var err error
	select {
	case err = <-closed:
	case <-time.After(closeTimeout):
		err = errors.New("index: cannot be written to its disk")
	}
	if err == nil && !x.memory {
		err = os.WriteFile(filepath.Join(x.dir, "clean"), []byte(inventory(x.dir)), 0o600)
	}
	return err
}

func (x *Index) close() error {
	if !x.memory {
		if err := roomToClose(x.dir); err != nil {
			return fmt.Errorf("index: left as it is, to be checked at the next start: %w", err)
		}
	}
	return x.db.Close()
}

// Sync makes what was written durable against power loss.
func (x *Index) Sync() error {
	if x.memory || roomToWrite(x.dir) != nil {
		return nil
	}
	return x.db.Sync()
}

func (x *Index) openMemory() error {
	db, err := badger.Open(small("").WithInMemory(true).WithLogger(badgerLog{x.log}))
	x.db, x.memory = db, true
	return err
}

func (x *Index) openDisk() error {
	if err := noteStart(x.dir); err != nil {
		return err
	}
	db, err := badger.Open(small(filepath.Join(x.dir, "db")).WithLogger(badgerLog{x.log}))
	if err != nil {
		return err
	}
	x.db = db
	if err := os.WriteFile(filepath.Join(x.dir, "format"), []byte(format), 0o600); err != nil {
		x.log.Warn("index: cannot write its format", "err", err)
	}
	for _, f := range []string{"starts", "clean"} {
		os.Remove(filepath.Join(x.dir, f))
	}
	return nil
}

// small is Badger for an index of megabytes: 11 MB of heap instead of 90, and
// 85 MB of sparse files instead of 2.3 GB. SyncWrites stays off: a process
// crash loses nothing, and after a power cut everything here is found again.
func small(dir string) badger.Options {
	return badger.DefaultOptions(dir).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithMetricsEnabled(false).
		WithMemTableSize(8 << 20).
		WithNumMemtables(2).
		WithValueLogFileSize(32 << 20).
		WithNumLevelZeroTables(2).
		WithNumLevelZeroTablesStall(6).
		WithNumCompactors(2).
		WithNumGoroutines(2).
		WithDetectConflicts(false)
}

// Check opens the database of the index in dir with every checksum verified
// and closes it again. It is meant for a process of its own: see
// [Options.Check].
func Check(dir string) error {
	db, err := badger.Open(small(filepath.Join(dir, "db")).
		WithLogger(nil).
		WithChecksumVerificationMode(options.OnTableAndBlockRead))
	if err != nil {
		return err
	}
	defer db.Close()
	return db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if err := it.Item().Value(func([]byte) error { return nil }); err != nil {
				return err
			}
		}
		return nil
	})
}

// unfit says why the database in dir must not be opened as it is.
func unfit(dir string, check func(string) error) error {
	if _, err := os.Stat(filepath.Join(dir, "db")); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	have, err := os.ReadFile(filepath.Join(dir, "format"))
	if err == nil && string(have) != format {
		return fmt.Errorf("it has format %q, this program writes %q", have, format)
	}
	starts, err := os.ReadFile(filepath.Join(dir, "starts"))
	died := err == nil
	if n := recentStarts(string(starts), time.Now()); n >= crashes {
		return fmt.Errorf("opening it ended the process %d times in the last %v", n, crashWindow)
	}
	if check == nil {
		return nil
	}
	if left, err := os.ReadFile(filepath.Join(dir, "clean")); err == nil && string(left) == inventory(dir) && !died {
		return nil
	}
	return check(dir)
}

// inventory describes the files of the database, to be compared with those that
// a clean stop has left.
func inventory(dir string) string {
	entries, _ := os.ReadDir(filepath.Join(dir, "db"))
	var b strings.Builder
	for _, e := range entries {
		if st, err := e.Info(); err == nil {
			fmt.Fprintln(&b, e.Name(), st.Size(), st.ModTime().UnixNano())
		}
	}
	return b.String()
}

// noteStart records an attempt to open; a successful one erases the record.
func noteStart(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, "starts"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, time.Now().UTC().Format(time.RFC3339))
	return errors.Join(err, f.Close())
}

func recentStarts(starts string, now time.Time) (n int) {
	for line := range strings.Lines(starts) {
		t, err := time.Parse(time.RFC3339, strings.TrimSpace(line))
		if age := now.Sub(t); err == nil && age >= 0 && age < crashWindow {
			n++
		}
	}
	return n
}

// setAside moves the database out of the way, keeping one such copy for
// whoever wants to know what happened.
func setAside(dir string) error {
	bad := filepath.Join(dir, "db.damaged")
	if err := os.RemoveAll(bad); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, "db"), bad); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, f := range []string{"starts", "clean", "format"} {
		os.Remove(filepath.Join(dir, f))
	}
	return nil
}

// badgerLog passes Badger's warnings and errors on and drops its chatter.
type badgerLog struct{ *slog.Logger }

func (l badgerLog) Errorf(f string, a ...any)   { l.Error(strings.TrimSpace(fmt.Sprintf(f, a...))) }
func (l badgerLog) Warningf(f string, a ...any) { l.Warn(strings.TrimSpace(fmt.Sprintf(f, a...))) }
func (badgerLog) Infof(string, ...any)          {}
func (badgerLog) Debugf(string, ...any)         {}
