package upper

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
)

// What is in an upper directory.
const (
	filesName  = "files"
	workName   = ".work"
	recordName = "view.json"
)

// A Dir is an upper directory that is ours until Close.
type Dir struct {
	Path string // real and absolute
	lock *os.File
	mode fs.FileMode
	made bool // by us
	ours bool // locked
}

// A Record says over what an upper directory was written.
type Record struct {
	Dataset string            `json:"dataset"`
	Commit  string            `json:"commit"`
	Views   []json.RawMessage `json:"views"`         // what was shown, each as whoever showed it says it
	Way     string            `json:"way,omitempty"` // how it is written, once it was
}

// A Place is a directory that an upper one has nothing to do with.
type Place struct{ What, Path string }

func refuse(path string, why error, do ...string) error {
	return advice.New(advice.CannotMount, "cannot write to "+path, why, do...)
}

const anotherDir = "choose an empty or new directory"

// Open takes an upper directory, and makes it with a mode if it is missing. Errors are of the kind
// [advice.CannotMount]: it is used by another command, holds other things, lies in a
// place or around one, or is where nothing can be written over a view.
func Open(path string, mode fs.FileMode, apart ...Place) (*Dir, error) {
	path, err := realPath(path)
	if err != nil {
		return nil, refuse(path, err, anotherDir)
	}
	for try := 1; ; try++ {
		d := &Dir{Path: path, mode: mode}
		err := d.open(apart)
		if err == nil {
			return d, nil
		}
		d.Close()
		if !errors.Is(err, errRemoved) || try == 10 {
			return nil, err
		}
	}
}

// Check looks at an upper directory as Open does, leaves it alone, and returns its path.
func Check(path string) (string, error) {
	d, err := Open(path, 0o777)
	if err != nil {
		return path, err
	}
	d.Close()
	return d.Path, nil
}

// realPath is that of a directory, which may be missing in one that is there.
func realPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path, err
	}
	if _, err := os.Lstat(abs); err == nil {
		real, err := filepath.EvalSymlinks(abs)
		return cmp.Or(real, abs), err
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	return filepath.Join(cmp.Or(parent, filepath.Dir(abs)), filepath.Base(abs)), err
}

func (d *Dir) open(apart []Place) (err error) {
	if err := d.apart(apart); err != nil {
		return err
	}
	switch err := makeDir(d.Path, d.mode); {
	case err == nil:
		d.made = true
	case !errors.Is(err, fs.ErrExist):
		return refuse(d.Path, err, "choose a directory that you can write to")
	}
	if d.lock, err = os.OpenFile(d.Path, unix.O_DIRECTORY|os.O_RDONLY, 0); err != nil {
		return refuse(d.Path, err, anotherDir)
	}
	if err := lockSoon(d.lock); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = errors.New("another command writes there, or something that it has started")
		}
		return refuse(d.Path, err, "wait for its end, or give each command a directory of its own")
	}
	// Who had it may have made it for nothing, and removed it.
	if mine, err := d.lock.Stat(); err != nil {
		return refuse(d.Path, err, anotherDir)
	} else if there, err := os.Lstat(d.Path); err != nil || !os.SameFile(mine, there) {
		return refuse(d.Path, errRemoved, "run the command again")
	}
	d.ours = true
	if err := checkFileSystem(d.Path); err != nil {
		return err
	}
	if err := d.checkContent(); err != nil {
		return err
	}
	for _, name := range []string{filesName, workName} {
		if err := makeDir(filepath.Join(d.Path, name), d.mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return refuse(d.Path, err, "choose a directory that you can write to")
		}
	}
	return nil
}

var errRemoved = errors.New("another command is removing it")

// lockSoon waits a moment for whoever has just been killed.
func lockSoon(f *os.File) error {
	for until := time.Now().Add(2 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(until) {
			return err
		}
	}
}

// makeDir makes a directory with a mode, whatever the umask of this process is.
func makeDir(path string, mode fs.FileMode) error {
	err := os.Mkdir(path, mode)
	if err == nil {
		err = os.Chmod(path, mode)
	}
	return err
}

func (d *Dir) apart(places []Place) error {
	for _, p := range places {
		real, err := filepath.EvalSymlinks(p.Path)
		if err != nil { // it is not there yet
			real = p.Path
		}
		switch {
		case real == "":
		case cachedir.Within(d.Path, real):
			return inside(d.Path, p, real)
		case cachedir.Within(real, d.Path):
			return refuse(d.Path, fmt.Errorf("%s, %s, lies inside it", p.What, real), "choose a directory elsewhere")
		}
	}
	return nil
}

func inside(path string, p Place, real string) error {
	return refuse(path, fmt.Errorf("it lies inside %s, %s", p.What, real), "choose a directory elsewhere")
}

// checkContent refuses a directory of somebody else's things.
func (d *Dir) checkContent() error {
	entries, err := os.ReadDir(d.Path)
	if err != nil {
		return refuse(d.Path, err, anotherDir)
	}
	for _, e := range entries {
		if !slices.Contains([]string{filesName, workName, recordName, recordName + ".new"}, e.Name()) {
			return refuse(d.Path, fmt.Errorf("it holds %s, which is not of an earlier command", strconv.Quote(e.Name())), anotherDir)
		}
	}
	_, err = d.Record()
	return err
}

// Shut has nobody but its owner look at what lies in the directory, also over a view.
func (d *Dir) Shut() error { return os.Chmod(filepath.Join(d.Path, filesName), 0o700) }

// Lock is a file that holds the directory as long as anybody has it open.
func (d *Dir) Lock() *os.File { return d.lock }

// Record returns what is known of an upper directory; nothing, of a new one.
func (d *Dir) Record() (r Record, err error) { return readRecord(d.Path) }

func readRecord(path string) (r Record, err error) {
	text, err := os.ReadFile(filepath.Join(path, recordName))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, refuse(path, fmt.Errorf("its %s cannot be read: %w", recordName, err), "if nothing in it is needed, remove the directory")
	}
	return r, nil
}

func writeRecord(path string, r Record) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	name := filepath.Join(path, recordName)
	if err := os.WriteFile(name+".new", append(text, '\n'), 0o666); err != nil {
		return refuse(path, err)
	}
	return os.Rename(name+".new", name)
}

// Claim takes note of the view that is going to be written over. Errors are of the kind
// [advice.CannotMount]: it was written over something else before.
func (d *Dir) Claim(dataset, commit string, view json.RawMessage) error {
	r, err := d.Record()
	if err != nil {
		return err
	}
	if r.Way == "" { // nothing was ever written there
		r = Record{}
	}
	if r.Commit != "" && r.Commit != commit {
		return refuse(d.Path, fmt.Errorf("what is in it was written over %s at %.12s, and this is %s at %.12s", r.Dataset, r.Commit, dataset, commit),
			"choose another directory for this one", "or go on with that: --dataset "+r.Dataset+" --version "+r.Commit)
	}
	r.Dataset, r.Commit = dataset, commit
	for i, v := range r.Views { // as it was laid out in the file
		var flat json.RawMessage
		if flat, err = compact(v); err != nil {
			return err
		}
		r.Views[i] = flat
	}
	if view, err = compact(view); err != nil {
		return err
	}
	if slices.ContainsFunc(r.Views, func(v json.RawMessage) bool { return string(v) == string(view) }) {
		return nil
	}
	r.Views = append(r.Views, view)
	return writeRecord(d.Path, r)
}

// Close gives the directory up, and removes it if it was made for nothing.
func (d *Dir) Close() {
	if r, err := d.Record(); d.ours && err == nil && r.Way == "" { // nothing was ever written there
		for _, name := range []string{workName, filesName, recordName} {
			os.Remove(filepath.Join(d.Path, name))
		}
	}
	if d.made {
		os.Remove(d.Path) // if it is empty
	}
	if d.lock != nil {
		d.lock.Close()
	}
}
