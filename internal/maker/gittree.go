package maker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// leaf is a path of a commit that is not a directory.
type leaf struct {
	path string
	mode string // "100644" or "120000"
	id   oid
}

// addTree writes the trees of the leaves and returns the root's id.
func (p *packer) addTree(leaves []leaf) (oid, error) {
	// Whole paths in byte order are in git's order of tree entries, too:
	// there a directory counts as its name with a slash.
	slices.SortFunc(leaves, func(a, b leaf) int { return cmp.Compare(a.path, b.path) })
	return p.addSubtree(leaves, 0)
}

// addSubtree writes the tree of leaves that share their first n bytes.
func (p *packer) addSubtree(leaves []leaf, n int) (oid, error) {
	var data []byte
	names := make(map[string]bool)
	for len(leaves) > 0 {
		name, _, isDir := strings.Cut(leaves[0].path[n:], "/")
		if name == "" {
			return oid{}, fmt.Errorf("not a path of a dataset: %q", leaves[0].path)
		}
		mode, id, count := leaves[0].mode, leaves[0].id, 1
		if isDir {
			prefix := leaves[0].path[:n+len(name)+1]
			for count < len(leaves) && strings.HasPrefix(leaves[count].path, prefix) {
				count++
			}
			var err error
			if id, err = p.addSubtree(leaves[:count], len(prefix)); err != nil {
				return oid{}, err
			}
			mode = "40000"
		}
		if names[name] {
			return oid{}, fmt.Errorf("two files of the dataset have the path %q", leaves[0].path[:n+len(name)])
		}
		names[name] = true
		data = append(append(data, mode+" "+name+"\x00"...), id[:]...)
		leaves = leaves[count:]
	}
	return p.add(treeObject, data)
}

// addCommit writes a commit at a time (Unix seconds).
func (p *packer) addCommit(tree oid, parent *oid, unix int64, message string) (oid, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "tree %s\n", tree)
	if parent != nil {
		fmt.Fprintf(&b, "parent %s\n", *parent)
	}
	for _, who := range []string{"author", "committer"} {
		fmt.Fprintf(&b, "%s uniharmonyfs demo <demo@example.org> %d +0000\n", who, unix)
	}
	fmt.Fprintf(&b, "\n%s\n", message)
	return p.add(commitObject, []byte(b.String()))
}
