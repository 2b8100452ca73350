package beneath

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
)

// Missing returns the directories that must be made for a target, from the
// target up.
func Missing(target string) (dirs []string) {
	for dir := target; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
			break
		}
		dirs = append(dirs, dir)
	}
	return dirs
}

// Make makes directories that are missing, with a mode that the umask of this
// process does not change.
func Make(missing []string, mode os.FileMode) error {
	for _, dir := range slices.Backward(missing) {
		err := os.Mkdir(dir, mode)
		if errors.Is(err, os.ErrExist) {
			continue // another download made it
		}
		if err = errors.Join(err, os.Chmod(dir, mode)); err != nil {
			return err
		}
	}
	return nil
}
