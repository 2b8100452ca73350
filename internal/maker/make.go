package maker

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Made is a dataset that was made. It is immutable.
type Made struct {
	Dataset Dataset
	Dir     string     // of the repository (with its work tree, if it has one)
	GitDir  string     // the same for a bare one
	Commits []string   // ids, oldest first
	Branch  string     // id of the git-annex branch
	Files   []MadeFile // of the last commit, as in Dataset.Files

	Versions [][]MadeFile // of every commit, oldest first
}

// A MadeFile is a file with its key and its content.
type MadeFile struct {
	File
	Key     annex.Key // zero unless annexed
	Content Content
}

// Make writes the dataset's repository to dir, which must be empty or absent.
func Make(dir string, d Dataset) (*Made, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	m := &Made{Dataset: d, Dir: dir, GitDir: dir}
	if d.WorkTree {
		m.GitDir = filepath.Join(dir, ".git")
	}
	for _, v := range d.versions() {
		files, err := withKeys(v.Files)
		if err != nil {
			return nil, err
		}
		m.Versions = append(m.Versions, files)
	}
	m.Files = m.Versions[len(m.Versions)-1]
	if err := m.write(); err != nil {
		return nil, fmt.Errorf("making the dataset %s: %w", d.Name, err)
	}
	return m, nil
}

// withKeys computes the keys of annexed files, on all processors.
func withKeys(files []File) ([]MadeFile, error) {
	made := make([]MadeFile, len(files))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for chunk := range slices.Chunk(indices(len(files)), 64) {
		g.Go(func() error {
			for _, i := range chunk {
				f := &made[i]
				f.File = files[i]
				f.Content = f.File.Content()
				if !f.Annexed {
					continue
				}
				var err error
				if f.Key, err = computeKey(&f.File, f.Content); err != nil {
					return fmt.Errorf("%s: %w", f.Path, err)
				}
			}
			return nil
		})
	}
	return made, g.Wait()
}

func indices(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// write writes the whole repository.
func (m *Made) write() error {
	packs := filepath.Join(m.GitDir, "objects", "pack")
	for _, dir := range []string{packs, filepath.Join(m.GitDir, "objects", "info"), filepath.Join(m.GitDir, "refs", "heads"), filepath.Join(m.GitDir, "info")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	p, err := newPacker(packs)
	if err != nil {
		return err
	}
	refs, leaves, err := m.addCommits(p)
	pack, closeErr := p.close()
	if err := errors.Join(err, closeErr); err != nil {
		return err
	}
	if err := m.writeGitDir(refs, pack); err != nil {
		return err
	}
	if m.Dataset.Present {
		if err := m.writeObjects(); err != nil {
			return err
		}
	}
	if m.Dataset.WorkTree {
		return m.checkOut(leaves)
	}
	return nil
}

// addCommits writes all commits. It returns the references to them and the
// last commit's files.
func (m *Made) addCommits(p *packer) (refs map[string]string, leaves []leaf, err error) {
	refs = make(map[string]string)
	var trees []oid
	var parent *oid
	for i, v := range m.Dataset.versions() {
		leaves = leaves[:0]
		for j := range m.Versions[i] {
			l, err := m.addFile(p, &m.Versions[i][j])
			if err != nil {
				return nil, nil, err
			}
			leaves = append(leaves, l)
		}
		tree, err := p.addTree(leaves)
		if err != nil {
			return nil, nil, err
		}
		trees = append(trees, tree)
		commit, err := p.addCommit(tree, parent, m.CommitTime(i).Unix(), "version "+fmt.Sprint(i+1))
		if err != nil {
			return nil, nil, err
		}
		parent = &commit
		m.Commits = append(m.Commits, commit.String())
		if v.Tag != "" {
			refs["refs/tags/"+v.Tag] = commit.String()
		}
	}
	for _, tag := range m.Dataset.Tags {
		refs["refs/tags/"+tag] = parent.String()
	}
	refs["refs/heads/"+mainBranch] = parent.String()
	branch, err := m.addAnnexBranch(p, trees)
	m.Branch = branch.String()
	refs["refs/heads/"+annexBranch] = m.Branch
	return refs, leaves, err
}

// addFile writes what git keeps of a file: its content, a pointer file, or a
// link.
func (m *Made) addFile(p *packer, f *MadeFile) (leaf, error) {
	l := leaf{path: f.Path, mode: "100644"}
	if f.Commit != "" {
		l.mode = "160000"
		n, err := hex.Decode(l.id[:], []byte(f.Commit))
		if err == nil && n != len(l.id) {
			err = fmt.Errorf("not a commit: %q", f.Commit)
		}
		return l, err
	}
	data, err := f.blob()
	if err != nil {
		return l, err
	}
	if f.isLink() {
		l.mode = "120000"
	}
	l.id, err = p.add(blobObject, data)
	return l, err
}

func (f *MadeFile) isLink() bool { return f.Link != "" || f.Annexed && !f.Unlocked }

func (f *MadeFile) blob() ([]byte, error) {
	switch name := f.Key.FileName(); {
	case f.Link != "":
		return []byte(f.Link), nil
	case f.Annexed && f.Unlocked:
		return []byte("/annex/objects/" + name + "\n"), nil
	case f.Annexed:
		up := strings.Repeat("../", strings.Count(f.Path, "/"))
		return []byte(up + ".git/annex/objects/" + f.Key.HashDirMixed() + "/" + name + "/" + name), nil
	default:
		return Bytes(f.Content)
	}
}
