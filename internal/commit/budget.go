package commit

import (
	"fmt"
	"sync"

	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/tree"
)

// A budget bounds what one commit may be: a few objects of git can stand for
// any number of paths. Ten million files are within it.
type budget struct {
	mu      sync.Mutex // guards the following
	entries int        // files and directories
	dirs    int
	bytes   int   // of names, of the paths of directories and links, and of links' targets
	path    int   // of one path
	content int64 // of all files
}

// maxContent is 64 PiB.
const maxContent = 1 << 56

func newBudget() *budget {
	return &budget{entries: 12_000_000, dirs: 3_000_000, bytes: 1 << 30, path: 4095, content: maxContent}
}

// take counts entries, those of them that are directories, and bytes. at says
// where they are.
func (b *budget) take(entries, dirs, bytes int, at string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries, b.dirs, b.bytes = b.entries-entries, b.dirs-dirs, b.bytes-bytes
	switch {
	case b.entries < 0:
		return tooLarge("it has more than ten million files", at)
	case b.dirs < 0:
		return tooLarge("it has more than three million directories", at)
	case b.bytes < 0:
		return tooLarge("its names and links have more than a GiB", at)
	}
	return nil
}

// takeContent counts the bytes that files say they have. What is within the
// budget can be added up, also over many commits, without an overflow.
func (b *budget) takeContent(p *part) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, entries := range p.dirs {
		for _, e := range entries {
			if e.Kind != tree.Dir {
				b.content -= min(e.Size, b.content+1)
			}
			if b.content < 0 {
				return tooLarge("its files say that they have more than 64 PiB in all", e.Name)
			}
		}
	}
	return nil
}

func tooLarge(why, at string) error {
	return fmt.Errorf("%w: %s; counted up to %.200q", tree.ErrTooLarge, why, at)
}

// takeTree counts a directory's entries in each of the places where it is.
func (b *budget) takeTree(dirs []dir, at []int, list []gitstore.TreeEntry) error {
	names, below, longest := 0, 0, 0
	for _, e := range list {
		names, longest = names+len(e.Name), max(longest, len(e.Name))
		if e.Mode == gitstore.ModeDir || e.Mode == gitstore.ModeSubmodule {
			below++
			names += len(e.Name)
		}
	}
	for _, i := range at {
		path := dirs[i].path
		if len(path)+1+longest > b.path && len(list) > 0 {
			return fmt.Errorf("%w: a path in directory %.80q… has more than %d bytes", tree.ErrTooLarge, path, b.path)
		}
		if err := b.take(len(list), below, names+below*(len(path)+1), path); err != nil {
			return err
		}
	}
	return nil
}
