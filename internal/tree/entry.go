package tree

import "github.com/uniharmony/uniharmonyfs/internal/annex"

// Kind says what a node is.
type Kind uint8

// The kinds of nodes.
const (
	Dir     Kind = iota // a directory
	Annexed             // a file whose content git-annex manages
	Git                 // a file whose content is a blob in git
	Link                // a symbolic link that is shown verbatim
)

// String returns the kind in one word.
func (k Kind) String() string {
	switch k {
	case Dir:
		return "directory"
	case Annexed:
		return "annexed"
	case Git:
		return "git"
	case Link:
		return "link"
	}
	return "unknown"
}

// An Entry is one name in a directory of a commit.
type Entry struct {
	Name   string
	Kind   Kind
	Size   int64     // bytes, of files; what a Dir or a Link has is ignored
	Key    annex.Key // of files: Annexed, Git
	Target string    // of a Link, 1 to 4095 bytes
}
