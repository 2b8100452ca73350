package upper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	uhfs "github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
)

// A Stack is what is put over a view. It is passed on as JSON.
type Stack struct {
	Upper   string   `json:"upper,omitempty"` // an upper directory; "": the view stays read-only
	Outputs []Output `json:"outputs,omitempty"`
}

// An Output is a directory that a view has at derivatives/Name.
type Output struct {
	Name string `json:"name"`
	Dir  string `json:"dir"`
}

// Empty reports whether nothing is put over a view.
func (s Stack) Empty() bool { return s.Upper == "" && len(s.Outputs) == 0 }

// The ways in which files of two directories become one.
const (
	byKernel = "overlayfs"
	byHelper = "fuse-overlayfs"
)

// Rights are what Mount takes beside the right to mount, as the kernel numbers them: an
// overlay does with them what is below it, in directories that nobody else may enter.
var Rights = []uintptr{unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_MKNOD}

// Mount puts the stack over a view, where over says, in the namespaces of this process,
// which needs the right to, or fusermount3. What was begun when it fails goes with them.
// gone is closed when a program that does it has ended; for the kernel it is nil. The
// program dies with the thread that calls.
func (s Stack) Mount(view string, over uhfs.Over) (gone <-chan struct{}, err error) {
	o := overlay{Over: over}
	defer o.close()
	below, err := o.open(view)
	if err != nil {
		return nil, err
	}
	o.lower = []*os.File{below}
	if len(s.Outputs) > 0 {
		if err := s.makePlaces(&o); err != nil {
			return nil, refuse(over.Target, err)
		}
	}
	var known Record
	if s.Upper != "" {
		if known, err = readRecord(s.Upper); err != nil {
			return nil, err
		}
		if o.files, err = o.open(filepath.Join(s.Upper, filesName)); err != nil {
			return nil, refuse(s.Upper, err)
		}
		if o.work, err = o.open(filepath.Join(s.Upper, workName)); err != nil {
			return nil, refuse(s.Upper, err)
		}
	}
	way, err := o.mount(known.Way)
	if err != nil {
		return nil, s.cannot(over.Target, known.Way, err)
	}
	if s.Upper != "" && known.Way == "" {
		known.Way = way
		if err := writeRecord(s.Upper, known); err != nil {
			return nil, err
		}
	}
	return o.gone, s.bind(over.Target)
}

func (s Stack) cannot(at, way string, err error) error {
	do := []string{"fuse-overlayfs does where the kernel does not: apt-get install fuse-overlayfs"}
	switch {
	case s.Upper == "":
		return advice.New(advice.CannotMount, "cannot show other directories in "+at, err, do...)
	case way == byKernel:
		do = []string{"what is in it was written through the kernel's overlayfs, and can be used with that only"}
	}
	return refuse(s.Upper, err, append(do, "or choose a directory on another file system")...)
}

// makePlaces mounts a layer between, in which the outputs have their places: so none is
// made in the upper directory.
func (s Stack) makePlaces(o *overlay) error {
	if err := unix.Mount("uniharmonyfs", o.Target, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=64k"); err != nil {
		return fmt.Errorf("no place for them can be made: %w", err)
	}
	for _, out := range s.Outputs {
		if err := os.MkdirAll(filepath.Join(o.Target, "derivatives", out.Name), 0o755); err != nil {
			return err
		}
	}
	places, err := o.open(o.Target)
	o.lower = append([]*os.File{places}, o.lower...)
	return err
}

func (s Stack) bind(at string) error {
	for _, out := range s.Outputs {
		place := filepath.Join(at, "derivatives", out.Name)
		if err := unix.Mount(out.Dir, place, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return advice.New(advice.CannotMount, "cannot show "+out.Dir+" at derivatives/"+out.Name, err)
		}
	}
	return nil
}

// An overlay is files of several directories as one.
type overlay struct {
	uhfs.Over
	lower       []*os.File // the first is on top
	files, work *os.File   // nil: nothing is written
	opened      []*os.File
	gone        chan struct{}
}

func (o *overlay) open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err == nil {
		o.opened = append(o.opened, f)
	}
	return f, err
}

func (o *overlay) close() {
	for _, f := range o.opened {
		f.Close()
	}
}

// mount mounts in the given way, or in whichever there is, and returns that.
func (o *overlay) mount(way string) (string, error) {
	kernel := errors.New("it was written by fuse-overlayfs before")
	if way != byHelper {
		if kernel = o.byKernel(); kernel == nil {
			return byKernel, nil
		}
		kernel = fmt.Errorf("the kernel's overlayfs refuses: %w", kernel)
	}
	if way == byKernel {
		return "", kernel
	}
	if err := o.byHelper(); err != nil {
		return "", fmt.Errorf("%w, and %w", kernel, err)
	}
	return byHelper, nil
}

// byKernel mounts the kernel's own. Directories are named by descriptors: in the kernel's
// options a colon, a comma or a backslash of a path would mean something.
func (o *overlay) byKernel() error {
	// What is deleted is marked in attributes that everybody may set, also for root: so it
	// is read in the same way whoever looks. Nothing else is: files are what they look like.
	options := o.layers(func(f *os.File) int { return int(f.Fd()) }) + ",userxattr,redirect_dir=nofollow,metacopy=off,index=off"
	return o.Overlay(options)
}

func (o *overlay) layers(number func(*os.File) int) string {
	name := func(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", number(f)) }
	var lower []string
	for _, f := range o.lower {
		lower = append(lower, name(f))
	}
	options := "lowerdir=" + strings.Join(lower, ":")
	if o.files != nil {
		options += ",upperdir=" + name(o.files) + ",workdir=" + name(o.work)
	}
	return options
}
