// Package partial fetches parts of a branch: what a few paths lead to. It is for
// the git-annex branch, whose tree has two levels, "f87/4d5", and in a leaf of it
// the logs of a key or a few.
//
// That takes a server which leaves out what it is told to, and sends any object by
// its id: with protocol 2 most do. Many can leave out all trees or none (tree:0).
// So the trees on the way are asked for one by one, and the leaves as a whole.
//
// What comes is not trusted to be what was asked for: it is looked at whether it
// is there.
package partial

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/program"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/remedy"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
)

// Repository is a repository that has a branch, or parts of it. Its methods run
// git, and return its errors; those that write must not be called at the same
// time.
type Repository struct {
	Git program.Git
	Dir string
	URL string // where the branch is
}

// errRefused is an error of git's, of one that was not asked.
var errRefused = &program.GitError{Args: []string{"fetch"}, Said: "parts of a branch need git 2.36 and a URL"}

// Refused reports whether a failure is not the network's: what cannot be had in
// parts may be had as a whole.
func Refused(err error) bool {
	if g, ok := program.AsGitError(err); ok {
		return !remedy.SpeaksOfNetwork(g.Said)
	}
	return errors.Is(err, gitstore.ErrMissing) || errors.Is(err, gitstore.ErrDamaged)
}

// FetchBeginning fetches the commit and the root of a branch of the other side, to
// a ref of the repository, and reports whether more is left to fetch. version is
// that of git.
func (r Repository) FetchBeginning(ctx context.Context, version, branch, ref string) (more bool, err error) {
	if filepath.IsAbs(r.URL) || !canFetchAgain(version) {
		return false, errRefused
	}
	if err := r.fetch(ctx, []string{"--depth=1", "--filter=tree:0"}, "+"+branch+":"+ref); err != nil {
		return false, err
	}
	root, err := r.root(ctx, ref)
	if err != nil {
		return false, err
	}
	if err := r.fetchObjects(ctx, "--filter=tree:0", root); err != nil {
		return false, err
	}
	if r.IsWhole(ctx, ref) == nil {
		return false, nil // the server leaves nothing out
	}
	// Whoever works there has git get by itself what is not there.
	_, err = r.Git.Run(ctx, nil, "-C", r.Dir, "config", "remote.origin.promisor", "true")
	return true, err
}

// HasParts reports whether parts of a branch were ever fetched: git takes what
// belongs to them for all there is, but for --refetch.
func (r Repository) HasParts() bool {
	packs, _ := os.ReadDir(filepath.Join(r.Dir, "objects", "pack"))
	return slices.ContainsFunc(packs, func(e os.DirEntry) bool { return strings.HasSuffix(e.Name(), ".promisor") })
}

// IsWhole returns an error when anything of a branch is not there.
func (r Repository) IsWhole(ctx context.Context, ref string) error {
	_, err := r.Git.Run(ctx, nil, "-C", r.Dir, "rev-list", "--objects", "--quiet", ref)
	return err
}

// Has reports whether all is there that paths lead to in a commit.
func (r Repository) Has(ctx context.Context, commit string, paths []string) (bool, error) {
	root, err := r.root(ctx, commit)
	if err != nil {
		return false, err
	}
	lacks, err := r.missing(ctx, root, paths)
	return len(lacks) == 0, err
}

// Fetch fetches what paths lead to in a commit: files of its root, and directories
// of two parts, with what is below. That a path leads nowhere is no error. Without
// an error all of sure is there, which is a part of paths. git reads the repository.
func (r Repository) Fetch(ctx context.Context, git *gitstore.Store, commit string, paths, sure []string) error {
	root, err := r.root(ctx, commit)
	if err != nil {
		return err
	}
	trees, err := readTrees(ctx, git, []gitstore.OID{root})
	if err != nil {
		return err
	}
	below := make(map[gitstore.OID][]string) // names of leaves, by the tree that they are in
	var files, tops, leaves []gitstore.OID
	for _, path := range paths {
		top, leaf, isLeaf := strings.Cut(path, "/")
		switch e, ok := trees[root][top]; {
		case !ok || isLeaf != (e.Mode == gitstore.ModeDir):
		case !isLeaf:
			files = append(files, e.ID)
		default:
			if below[e.ID] == nil {
				tops = append(tops, e.ID)
			}
			below[e.ID] = append(below[e.ID], leaf)
		}
	}
	if err := r.fetchObjects(ctx, "--filter=tree:0", append(files, tops...)...); err != nil {
		return err
	}
	if trees, err = readTrees(ctx, git, tops); err != nil {
		return err
	}
	for _, top := range tops {
		for _, name := range below[top] {
			if e, ok := trees[top][name]; ok && e.Mode != gitstore.ModeSubmodule {
				leaves = append(leaves, e.ID)
			}
		}
	}
	if err := r.fetchObjects(ctx, "--no-filter", leaves...); err != nil {
		return err
	}
	return r.complete(ctx, root, sure)
}

// complete fetches what is missing all the same: git asks for nothing of a tree
// that is there, though others may have got it without what is below.
func (r Repository) complete(ctx context.Context, root gitstore.OID, paths []string) error {
	lacks, err := r.missing(ctx, root, paths)
	if err != nil || len(lacks) == 0 {
		return err
	}
	if err := r.fetchObjects(ctx, "--no-filter", lacks[:min(len(lacks), maxObjects)]...); err != nil {
		return err
	}
	if lacks, err = r.missing(ctx, root, paths); err == nil && len(lacks) > 0 {
		err = fmt.Errorf("%w: the server does not send %s", gitstore.ErrMissing, lacks[0])
	}
	return err
}

// root returns the tree of a commit. It need not be there.
func (r Repository) root(ctx context.Context, commit string) (gitstore.OID, error) {
	out, err := r.Git.Run(ctx, nil, "-C", r.Dir, "cat-file", "commit", commit)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(out, "\n")
	id, ok := strings.CutPrefix(line, "tree ")
	if !ok || !isID(id) {
		return "", fmt.Errorf("%w: commit %s has no tree", gitstore.ErrDamaged, commit)
	}
	return gitstore.OID(id), nil
}

func isID(s string) bool { return len(s) == 40 && strings.Trim(s, "0123456789abcdef") == "" }

// missing returns what is not there of what paths lead to below a tree.
func (r Repository) missing(ctx context.Context, root gitstore.OID, paths []string) (ids []gitstore.OID, err error) {
	args := []string{"-C", r.Dir, "rev-list", "--objects", "--quiet", "--missing=print", string(root), "--"}
	out, err := r.Git.Run(ctx, nil, append(args, paths...)...)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(out) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "?"); ok && isID(id) {
			ids = append(ids, gitstore.OID(id))
		}
	}
	return ids, nil
}

// maxObjects bounds the objects that are asked for at once: they are arguments.
const maxObjects = 4096

// fetchObjects fetches objects by their ids. None may be below another when
// something is left out. Git asks for nothing if all are there.
func (r Repository) fetchObjects(ctx context.Context, option string, ids ...gitstore.OID) error {
	for len(ids) > 0 {
		n := min(len(ids), maxObjects)
		refs := make([]string, n)
		for i, id := range ids[:n] {
			refs[i] = string(id)
		}
		if err := r.fetch(ctx, []string{option}, refs...); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// fetch runs git fetch for less than all. The name of the remote is for this one
// run: the repository's own may be of another URL.
func (r Repository) fetch(ctx context.Context, options []string, refs ...string) error {
	const remote = "uniharmonyfs"
	args := []string{
		"-c", "remote." + remote + ".url=" + r.URL, "-c", "remote." + remote + ".promisor=true", "-c", "remote." + remote + ".partialclonefilter=tree:0",
		"-c", "fetch.negotiationAlgorithm=noop", "-C", r.Dir, "fetch", "--quiet", "--progress", "--no-tags", "--no-auto-maintenance", "--no-write-fetch-head",
	}
	args = append(append(append(args, options...), "--", remote), refs...)
	_, err := r.Git.Bounded(ctx, program.Limits{Silence: program.TransferSilence}, nil, args...)
	return err
}

// canFetchAgain reports whether a version of git has --refetch, without which
// there is no way back from a part to the whole.
func canFetchAgain(version string) bool {
	var major, minor int
	fmt.Sscanf(version, "%d.%d", &major, &minor)
	return major > 2 || major == 2 && minor >= 36
}

// readTrees reads trees that are there.
func readTrees(ctx context.Context, git *gitstore.Store, ids []gitstore.OID) (map[gitstore.OID]map[string]gitstore.TreeEntry, error) {
	trees := make(map[gitstore.OID]map[string]gitstore.TreeEntry, len(ids))
	err := git.ReadAll(ctx, ids, func(i int, kind string, data []byte) error {
		list, err := gitstore.ParseTree(data)
		if kind != "tree" || err != nil {
			return fmt.Errorf("%w: %s is no tree", gitstore.ErrDamaged, ids[i])
		}
		trees[ids[i]] = make(map[string]gitstore.TreeEntry, len(list))
		for _, e := range list {
			trees[ids[i]][e.Name] = e
		}
		return nil
	})
	return trees, err
}
