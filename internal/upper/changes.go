package upper

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
)

// A Change is one file that is not as it is in the view below, or a directory, whose path
// ends in a slash: a new one with nothing in it, or one that was deleted with all that was.
type Change struct {
	Path  string `json:"path"`
	Exact []byte `json:"path_base64,omitempty"` // the path, when it is not UTF-8
	What  What   `json:"change"`
	Size  int64  `json:"size"`
}

// What became of a file.
type What string

// What can become of one.
const (
	Created What = "created"
	Changed What = "changed"
	Deleted What = "deleted"
)

// Of returns what is known of an upper directory. Errors are of the kind [advice.Usage]
// for a directory that is none.
func Of(path string) (Record, error) {
	r, err := readRecord(path)
	if err == nil && r.Commit == "" {
		err = advice.New(advice.Usage, path+" is not the DIR of a --writable", errors.New("there is no "+recordName+" in it"))
	}
	return r, err
}

// Changes returns what an upper directory changes, in the order of the paths. below are
// the paths of the files of the views that it lies over. Where they are not known (nil),
// what was put in the place of a file counts as created, and a directory that was deleted
// and made again as changed.
func Changes(path string, below []string) ([]Change, error) {
	w := walker{root: filepath.Join(path, filesName), below: slices.Sorted(slices.Values(below)), known: below != nil}
	err := w.walk("")
	slices.SortFunc(w.found, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return w.found, err
}

type walker struct {
	root  string
	below []string // sorted
	known bool
	found []Change
}

func (w *walker) add(what What, path string, size int64) {
	c := Change{Path: path, What: what, Size: size}
	if !utf8.ValidString(path) {
		c.Exact = []byte(path)
	}
	w.found = append(w.found, c)
}

// has reports whether there is a file of the view at a path.
func (w *walker) has(path string) bool {
	_, is := slices.BinarySearch(w.below, path)
	return is
}

// under returns the files of the view below a directory.
func (w *walker) under(dir string) []string {
	from, _ := slices.BinarySearch(w.below, dir+"/")
	to, _ := slices.BinarySearch(w.below, dir+"0") // what comes after a slash
	return w.below[from:to]
}

// The names by which fuse-overlayfs marks what is deleted where it cannot otherwise.
const (
	deletedPrefix = ".wh."
	opaqueName    = ".wh..wh..opq"
	opaqueToo     = ".wh..opq" // a device, beside the other
)

func (w *walker) walk(dir string) error {
	entries, err := os.ReadDir(filepath.Join(w.root, dir))
	if err != nil {
		return gone(err)
	}
	for _, e := range entries {
		st, err := e.Info()
		if err != nil {
			if err = gone(err); err != nil {
				return err
			}
			continue
		}
		path := filepath.Join(dir, e.Name())
		deleted, marked := strings.CutPrefix(e.Name(), deletedPrefix)
		switch {
		case e.Name() == opaqueName, e.Name() == opaqueToo:
		case marked && st.Mode().IsRegular() && st.Size() == 0:
			w.deleted(filepath.Join(dir, deleted))
		case isWhiteout(st):
			w.deleted(path)
		case e.IsDir():
			if err := w.directory(path); err != nil {
				return err
			}
		default:
			w.file(path, st)
		}
	}
	return nil
}

// gone is nil for an error that says that somebody has just removed what is looked at.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (w *walker) deleted(path string) {
	if len(w.under(path)) > 0 {
		path += "/"
	}
	w.add(Deleted, path, 0)
}

func (w *walker) file(path string, st fs.FileInfo) {
	what := Created
	if w.has(path) || isCopy(filepath.Join(w.root, path)) {
		what = Changed
	}
	if len(w.under(path)) > 0 {
		w.add(Deleted, path+"/", 0)
	}
	w.add(what, path, st.Size())
}

func (w *walker) directory(path string) error {
	real := filepath.Join(w.root, path)
	below := w.under(path)
	if w.has(path) {
		w.add(Deleted, path, 0)
	}
	before := len(w.found)
	if err := w.walk(path); err != nil {
		return err
	}
	switch opaque := isOpaque(real); {
	case opaque && !w.known:
		w.add(Changed, path+"/", 0)
	case opaque && len(below) > 0:
		for _, file := range below {
			if _, err := os.Lstat(filepath.Join(w.root, file)); err != nil {
				w.add(Deleted, file, 0)
			}
		}
	case len(w.found) == before && len(below) == 0 && !isCopy(real):
		w.add(Created, path+"/", 0)
	}
	return nil
}

// isWhiteout reports whether an entry is what the kernel puts in the place of what was
// deleted.
func isWhiteout(st fs.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && st.Mode()&fs.ModeCharDevice != 0 && sys.Rdev == 0
}

// isCopy reports whether a file, or directory, is that of the view, copied.
func isCopy(path string) bool {
	return hasMark(path, "user.overlay.origin") || hasMark(path, "user.fuseoverlayfs.origin")
}

// isOpaque reports whether nothing of the view is seen in a directory.
func isOpaque(path string) bool {
	for _, mark := range []string{"user.overlay.opaque", "user.fuseoverlayfs.opaque", "trusted.overlay.opaque"} {
		if hasMark(path, mark) {
			return true
		}
	}
	_, err := os.Lstat(filepath.Join(path, opaqueName))
	return err == nil
}

func hasMark(path, name string) bool {
	_, err := unix.Lgetxattr(path, name, nil)
	return err == nil
}
