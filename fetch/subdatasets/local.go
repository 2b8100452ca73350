package subdatasets

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/candidates"
)

// maxSettings is how much of a file of a repository is read, in bytes.
const maxSettings = 1 << 20

// onThisMachine looks at a parent that is a repository here: where its own subdatasets
// are installed, and which remotes it has. It returns the repository's settings, which
// are believed as little as a dataset's.
func (s *Set) onThisMachine(dir string) []candidates.Entry {
	dir = strings.TrimSuffix(dir, "/.git")
	git, err := gitDir(dir)
	if err != nil || git == dir {
		return nil // it has no work tree: what it has is at its URL
	}
	s.workTree, s.parent.Dir, s.parent.Remotes = dir, dir, nil
	config, _ := readSome(filepath.Join(git, "config"))
	entries, err := candidates.ParseFile(config)
	if err != nil {
		return nil
	}
	head, _ := readSome(filepath.Join(git, "HEAD"))
	branch := strings.TrimPrefix(strings.TrimSpace(string(head)), "ref: refs/heads/")
	followed := ""
	for _, e := range entries {
		if e.Key == "branch."+branch+".remote" {
			followed = e.Value
		}
		if name, is := strings.CutPrefix(e.Key, "remote."); is && strings.HasSuffix(name, ".url") {
			s.parent.Remotes = append(s.parent.Remotes, candidates.Remote{Name: strings.TrimSuffix(name, ".url"), URL: e.Value})
		}
	}
	slices.SortStableFunc(s.parent.Remotes, func(a, b candidates.Remote) int {
		switch {
		case a.Name == followed && b.Name != followed:
			return -1
		case b.Name == followed && a.Name != followed:
			return 1
		}
		return 0
	})
	return entries
}

// gitDir returns the directory of git in, or at, a directory.
func gitDir(dir string) (string, error) {
	inside := filepath.Join(dir, ".git")
	st, err := os.Stat(inside)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if _, err := os.Stat(filepath.Join(dir, "HEAD")); err != nil {
			return "", errors.New("there is no repository")
		}
		return dir, nil
	case err != nil:
		return "", err
	case st.IsDir():
		return inside, nil
	}
	text, err := readSome(inside)
	if err != nil {
		return "", err
	}
	to, is := strings.CutPrefix(strings.TrimRight(string(text), "\r\n"), "gitdir: ")
	if !is {
		return "", errors.New("there is no repository")
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join(dir, to)
	}
	return to, nil
}

func readSome(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("it is no file")
	}
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSettings))
}

var errLeadsOut = errors.New("a link leads out of the dataset that you named")

// checkLinks refuses a directory that is no repository, or is not below what the user
// named once links are followed, those of git too.
func checkLinks(reach candidates.Reach, dir string) error {
	root, err := filepath.EvalSymlinks(reach.Below(dir))
	if err != nil {
		return errors.New("there is nothing")
	}
	git, err := gitDir(dir)
	if err != nil {
		return errors.New("there is no repository")
	}
	for _, path := range []string{dir, git} {
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			return errors.New("there is nothing")
		}
		if real != root && !strings.HasPrefix(real, root+"/") {
			return errLeadsOut
		}
	}
	return nil
}
