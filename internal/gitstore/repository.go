package gitstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// A repository is where git keeps things. They differ only in a linked work
// tree, which has its own HEAD and shares the rest.
type repository struct {
	own    string // HEAD
	common string // objects, refs, config
}

// findRepository finds the repository of dir, and of dir only.
func findRepository(dir string) (repository, error) {
	if r, ok := asRepository(dir); ok {
		return checkFormat(r)
	}
	dotGit := filepath.Join(dir, ".git")
	if r, ok := asRepository(dotGit); ok {
		return checkFormat(r)
	}
	if info, err := os.Stat(dotGit); err == nil && info.Mode().IsRegular() {
		target, err := readLine(dotGit)
		if err != nil {
			return repository{}, err
		}
		if target, ok := strings.CutPrefix(target, "gitdir: "); ok {
			if r, ok := asRepository(beside(dir, target)); ok {
				return checkFormat(r)
			}
		}
	}
	if _, err := os.Stat(dir); err != nil {
		return repository{}, err
	}
	return repository{}, errors.New("not a git repository")
}

// asRepository applies git's own test: a HEAD, and objects and refs.
func asRepository(dir string) (repository, bool) {
	r := repository{own: dir, common: dir}
	if c, err := readLine(filepath.Join(dir, "commondir")); err == nil {
		r.common = beside(dir, c)
	}
	if _, err := os.Lstat(filepath.Join(dir, "HEAD")); err != nil {
		return repository{}, false
	}
	for _, name := range []string{"objects", "refs"} {
		if info, err := os.Stat(filepath.Join(r.common, name)); err != nil || !info.IsDir() {
			return repository{}, false
		}
	}
	return r, true
}

// checkFormat refuses the formats that are not read here. It looks for the
// word only: nothing else in a git configuration is spelled like it.
func checkFormat(r repository) (repository, error) {
	config, err := readFileIfAny(filepath.Join(r.common, "config"))
	if err != nil {
		return repository{}, err
	}
	for line := range strings.Lines(strings.ToLower(string(config))) {
		key, value, _ := strings.Cut(line, "=")
		if strings.HasSuffix(strings.TrimSpace(key), "objectformat") && strings.TrimSpace(value) != "sha1" {
			return repository{}, errors.New("its object format " + strings.TrimSpace(value) + " is not supported")
		}
	}
	return r, nil
}

func readLine(path string) (string, error) {
	b, err := os.ReadFile(path)
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSuffix(line, "\r"), err
}

// beside returns path, taken relative to dir unless it is absolute.
func beside(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

func readFileIfAny(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return b, err
}
