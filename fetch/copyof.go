package fetch

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// CopyOf makes the clone a copy of another cache's hidden clone of the same dataset,
// which may be in use, unless there is one already or none there. It is not flushed to
// the disk. What is wrong with the copy is found when it is read, as with any clone.
func (h *Hidden) CopyOf(other, objects string) error {
	if _, err := os.Lstat(filepath.Join(h.dir, manifestName)); err == nil {
		return nil
	}
	// What the manifest and the refs name is there before them, so they are read first.
	manifest, err := os.ReadFile(filepath.Join(other, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	making := filepath.Join(filepath.Dir(h.dir), ".copy-"+filepath.Base(h.dir))
	defer os.RemoveAll(making)
	if err := errors.Join(os.RemoveAll(making), os.MkdirAll(making, 0o700)); err != nil {
		return err
	}
	for _, part := range []string{"refs", "packed-refs", "shallow", "HEAD", "config", "objects"} {
		if err := copyTree(filepath.Join(other, part), filepath.Join(making, part)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, needed := range []string{"HEAD", "config"} {
		if st, err := os.Lstat(filepath.Join(making, needed)); err != nil || !st.Mode().IsRegular() {
			return errors.Join(err, errors.New(other+" is no repository"))
		}
	}
	if err := linkObjects(making, objects); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(making, manifestName), manifest, 0o600); err != nil {
		return err
	}
	return os.Rename(making, h.dir)
}

// copyTree copies regular files and directories. Those of git's objects never change, so
// that where it can be a link does.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		switch {
		case e.IsDir():
			return os.MkdirAll(target, 0o700)
		case !e.Type().IsRegular() || strings.HasPrefix(e.Name(), "tmp_") || strings.HasSuffix(e.Name(), ".lock"):
			return nil
		case filepath.Base(filepath.Dir(path)) == "pack" && os.Link(path, target) == nil:
			return nil
		}
		return copyFile(path, target)
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
