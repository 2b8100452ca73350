package maker

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// writeGitDir writes everything of the repository but its objects, with what
// "git update-server-info" would add, so that it can be fetched by plain
// HTTP too.
func (m *Made) writeGitDir(refs map[string]string, pack string) error {
	var packed, info strings.Builder
	packed.WriteString("# pack-refs with: peeled fully-peeled sorted \n")
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		fmt.Fprintf(&packed, "%s %s\n", refs[name], name)
		fmt.Fprintf(&info, "%s\t%s\n", refs[name], name)
	}
	config := fmt.Sprintf("[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = %t\n", !m.Dataset.WorkTree)
	// Clones by commit id, as of an older version, are allowed.
	config += "[uploadpack]\n\tallowAnySHA1InWant = true\n"
	if m.Dataset.Present {
		config += fmt.Sprintf("[annex]\n\tuuid = %s\n\tversion = 10\n", m.originUUID())
	}
	for name, content := range map[string]string{
		"HEAD":               "ref: refs/heads/" + mainBranch + "\n",
		"config":             config,
		"packed-refs":        packed.String(),
		"info/refs":          info.String(),
		"objects/info/packs": "P " + pack + "\n\n",
	} {
		if err := writeFile(filepath.Join(m.GitDir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// writeObjects puts the annexed content of the last commit where git-annex
// keeps it.
func (m *Made) writeObjects() error {
	have := make(map[annex.Key]bool)
	for i := range m.Files {
		f := &m.Files[i]
		if !f.Annexed || have[f.Key] {
			continue
		}
		have[f.Key] = true
		object := f.Key.ObjectPath()
		if m.Dataset.WorkTree {
			name := f.Key.FileName()
			object = f.Key.HashDirMixed() + "/" + name + "/" + name
		}
		if err := copyContent(filepath.Join(m.GitDir, "annex", "objects", object), f.Content, 0o444); err != nil {
			return err
		}
	}
	return nil
}

// checkOut writes the work tree and git's index of it.
func (m *Made) checkOut(leaves []leaf) error {
	for i := range m.Files {
		f := &m.Files[i]
		path := filepath.Join(m.Dir, f.Path)
		if f.Annexed && f.Unlocked && m.Dataset.Present {
			if err := copyContent(path, f.Content, 0o644); err != nil {
				return err
			}
			continue
		}
		data, err := f.blob()
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if f.isLink() {
			err = os.Symlink(string(data), path)
		} else {
			err = writeFile(path, data, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return writeFile(filepath.Join(m.GitDir, "index"), gitIndex(leaves), 0o644)
}

// gitIndex returns git's index, version 2, of leaves in order. What it says
// of the files on disk is nothing: git looks for itself.
// https://git-scm.com/docs/index-format
func gitIndex(leaves []leaf) []byte {
	be := binary.BigEndian
	b := be.AppendUint32([]byte("DIRC\x00\x00\x00\x02"), uint32(len(leaves)))
	for _, l := range leaves {
		entry := make([]byte, 40)
		mode := uint32(0o100644)
		if l.mode == "120000" {
			mode = 0o120000
		}
		be.PutUint32(entry[24:], mode)
		entry = append(entry, l.id[:]...)
		entry = be.AppendUint16(entry, uint16(min(len(l.path), 0xfff)))
		entry = append(entry, l.path...)
		b = append(b, entry...)
		b = append(b, make([]byte, 8-len(entry)%8)...)
	}
	sum := sha1.Sum(b)
	return append(b, sum[:]...)
}

// Materialize writes the plain files of the last commit to dir: what a
// person without git-annex would want to have.
func (m *Made) Materialize(dir string) error {
	for i := range m.Files {
		f := &m.Files[i]
		path := filepath.Join(dir, f.Path)
		if f.Link == "" {
			if err := copyContent(path, f.Content, 0o644); err != nil {
				return err
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(f.Link, path); err != nil {
			return err
		}
	}
	return nil
}

func copyContent(path string, c Content, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return write(path, io.NewSectionReader(c, 0, c.Size()), mode)
}

func writeFile(path string, data []byte, mode os.FileMode) error {
	return write(path, bytes.NewReader(data), mode)
}

// write writes a new file.
func write(path string, r io.Reader, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = io.Copy(f, r); err == nil {
		err = f.Chmod(mode)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
