package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// An archive is a wheel that is being written: a zip file whose last file lists
// the others with their hashes. The first error is kept for close.
type archive struct {
	buf    bytes.Buffer
	zip    *zip.Writer
	list   string // the name of the list
	record strings.Builder
	err    error
}

func newArchive(list string) *archive {
	a := &archive{list: list}
	a.zip = zip.NewWriter(&a.buf)
	return a
}

// zipEpoch is the date of all files: the first one that a zip file can tell.
var zipEpoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// file adds a file.
func (a *archive) file(name string, mode fs.FileMode, data []byte) {
	a.write(name, mode, data)
	hash := sha256.Sum256(data)
	fmt.Fprintf(&a.record, "%s,sha256=%s,%d\n", name, base64.RawURLEncoding.EncodeToString(hash[:]), len(data))
}

func (a *archive) write(name string, mode fs.FileMode, data []byte) {
	if a.err != nil {
		return
	}
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: zipEpoch}
	h.SetMode(mode)
	w, err := a.zip.CreateHeader(h)
	if err == nil {
		_, err = w.Write(data)
	}
	a.err = err
}

// tree adds the files below a directory that are wanted, with a prefix before
// their paths in it.
func (a *archive) tree(dir, prefix string, wanted func(path string) bool) error {
	paths, err := regular(dir)
	if err != nil {
		return err
	}
	for _, path := range paths {
		if !wanted(path) {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		a.file(prefix+filepath.ToSlash(name), 0o644, data)
	}
	return nil
}

// close adds the list and returns the whole.
func (a *archive) close() ([]byte, error) {
	a.write(a.list, 0o644, []byte(a.record.String()+a.list+",,\n"))
	if a.err != nil {
		return nil, a.err
	}
	err := a.zip.Close()
	return a.buf.Bytes(), err
}
