package partial

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
)

// content makes bytes, and what a partial file of them is of.
func content(t *testing.T, size int) (Ident, []byte) {
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(data)
	return Ident{Key: mustKey(t, fmt.Sprintf("SHA256E-s%d--%x.nii", size, sha256.Sum256(data))), Dataset: "ds"}, data
}

func mustOpen(t *testing.T, p *File) Stock {
	t.Helper()
	s, err := p.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return s
}

func write(t *testing.T, p *File, s *Stock, data []byte, i Interval) {
	t.Helper()
	if n, err := p.Write(data[i.Off:i.End], i.Off); err != nil || int64(n) != i.Len() {
		t.Fatalf("%d of %d bytes: %v", n, i.Len(), err)
	}
	s.Add(i, "a source", true)
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// Bytes that came out of order are hashed in order; what was left is found
// again, by another process too, and becomes the object without a write.
func TestFileComesWholeAndIsPublished(t *testing.T) {
	of, data := content(t, 5<<20)
	dir := t.TempDir()
	p := New(disk.OS{}, dir, of, int64(len(data)))
	s := mustOpen(t, p)
	write(t, p, &s, data, Interval{3 << 20, 4 << 20})
	write(t, p, &s, data, Interval{0, 1 << 20})
	if p.Hashed() != 1<<20 {
		t.Errorf("%d bytes are hashed", p.Hashed())
	}
	left, err := p.Leave(s, 1<<30)
	if err != nil || left < 2<<20 || left > 2<<20+16<<10 || left != Left(disk.OS{}, filepath.Join(dir, of.Name())) {
		t.Fatalf("%d bytes are left: %v", left, err)
	}
	if found, stock, err := Find(disk.OS{}, dir, of.Name()); err != nil || found != of || stock.Have.Sum() != 2<<20 {
		t.Fatalf("found %v, %v: %v", found, stock, err)
	}
	p = New(disk.OS{}, dir, of, int64(len(data)))
	s = mustOpen(t, p)
	for gap := s.Have.Gap(Interval{0, p.Size}); gap.Len() > 0; gap = s.Have.Gap(Interval{0, p.Size}) {
		write(t, p, &s, data, gap)
	}
	if err := p.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, "object")
	if err := p.Publish(func(from string) error { return os.Rename(from, to) }); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(to)
	if st, _ := os.Stat(to); err != nil || !bytes.Equal(got, data) || st.Mode() != 0o444 {
		t.Errorf("published: %v", err)
	}
	// Whoever is late writes no map, and nothing into the object.
	if err := p.SaveMap(s); err != nil {
		t.Error(err)
	}
	if _, err := p.Write([]byte{1}, 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("written after publication: %v", err)
	}
	if all := names(t, dir); len(all) != 1 {
		t.Errorf("left: %v", all)
	}
}

// A file that cannot get its final name stays what it was.
func TestFileThatCannotBePublishedIsKept(t *testing.T) {
	of, data := content(t, 100_000)
	dir := t.TempDir()
	p := New(disk.OS{}, dir, of, int64(len(data)))
	s := mustOpen(t, p)
	write(t, p, &s, data, Interval{0, p.Size})
	no := errors.New("no")
	if err := p.Publish(func(string) error { return no }); !errors.Is(err, no) {
		t.Fatal(err)
	}
	if got := make([]byte, len(data)); true {
		if _, err := p.ReadAt(got, 0); err != nil || !bytes.Equal(got, data) {
			t.Errorf("after that: %v", err)
		}
	}
	if left, err := p.Leave(s, 1<<30); err != nil || left == 0 {
		t.Errorf("%d bytes are left: %v", left, err)
	}
}

// Wrong bytes are told from bytes that cannot be read.
func TestVerifyTellsWrongFromUnread(t *testing.T) {
	of, data := content(t, 100_000)
	p := New(disk.OS{}, t.TempDir(), of, int64(len(data)))
	s := mustOpen(t, p)
	data[7] ^= 1
	write(t, p, &s, data, Interval{0, p.Size - 10})
	if err := p.Verify(t.Context()); err == nil || errors.Is(err, ErrWrong) {
		t.Errorf("with bytes missing: %v", err)
	}
	write(t, p, &s, data, Interval{p.Size - 10, p.Size})
	if err := p.Verify(t.Context()); !errors.Is(err, ErrWrong) {
		t.Errorf("wrong bytes: %v", err)
	}
}

// What is thrown away is gone; what cannot be removed is empty.
func TestDiscardLeavesNothingToServe(t *testing.T) {
	of, data := content(t, 2<<20)
	dir := t.TempDir()
	stuck := noRemove{}
	p := New(stuck, dir, of, int64(len(data)))
	s := mustOpen(t, p)
	write(t, p, &s, data, Interval{0, 1 << 20})
	if err := p.SaveMap(s); err != nil {
		t.Fatal(err)
	}
	if err := p.Discard(); err == nil {
		t.Fatal("it was removed")
	}
	again := New(disk.OS{}, dir, of, int64(len(data)))
	if s := mustOpen(t, again); len(s.Have) != 0 {
		t.Errorf("%v of what was thrown away is believed", s.Have)
	}
	if err := again.Discard(); err != nil || len(names(t, dir)) != 0 {
		t.Errorf("left: %v, %v", names(t, dir), err)
	}
}

type noRemove struct{ disk.OS }

func (d noRemove) Remove(path string) error {
	_, err := d.Stat(path)
	if err == nil {
		err = &fs.PathError{Op: "remove", Path: path, Err: fs.ErrPermission}
	}
	return err
}

// A flush that a new map overtakes vouches for nothing.
func TestFlushVouchesForItsOwnMapOnly(t *testing.T) {
	of, data := content(t, 2<<20)
	dir := t.TempDir()
	late := &rebooted{}
	p := New(late, dir, of, int64(len(data)))
	s := mustOpen(t, p)
	write(t, p, &s, data, Interval{0, 4096})
	if err := p.SaveMap(s); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
	late.boot[0]++
	if _, err := ReadMap(late, filepath.Join(dir, of.Name()), of); err != nil {
		t.Errorf("flushed, and not believed after a restart: %v", err)
	}
	write(t, p, &s, data, Interval{8192, 12288})
	if err := p.SaveMap(s); err != nil {
		t.Fatal(err)
	}
	late.boot[0]++
	if _, err := ReadMap(late, filepath.Join(dir, of.Name()), of); !errors.Is(err, ErrMap) {
		t.Errorf("not flushed, and believed after a restart: %v", err)
	}
}

type rebooted struct {
	disk.OS
	boot [16]byte
}

func (r *rebooted) Boot() [16]byte { return r.boot }

// A whole file that a source brought is taken as it is, if it has the size; what
// was thrown away is recognised in it.
func TestAdoptedFileAndDigests(t *testing.T) {
	of, data := content(t, 100_000)
	dir := t.TempDir()
	path := filepath.Join(dir, "brought")
	if err := os.WriteFile(path, data[:1000], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Adopt(disk.OS{}, path, of, int64(len(data))); !errors.Is(err, ErrWrong) {
		t.Errorf("too short: %v", err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Adopt(disk.OS{}, path, of, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	seen, err := p.Digests(Ranges{{0, 10}, {500, 90_000}})
	if err != nil || !Agrees(bytes.NewReader(data), seen) {
		t.Errorf("the same bytes do not agree: %v", err)
	}
	data[600] ^= 1
	if Agrees(bytes.NewReader(data), seen) || Agrees(bytes.NewReader(data[:600]), seen) {
		t.Error("other bytes agree")
	}
	if left, err := p.Leave(Stock{}, 1<<30); left != 0 || err != nil {
		t.Errorf("%d bytes are left: %v", left, err)
	}
}

// deaf is a disk that does not take what is flushed.
type deaf struct{ disk.OS }

type deafFile struct{ disk.File }

func (deaf) Open(path string) (disk.File, error) {
	f, err := disk.OS{}.Open(path)
	return deafFile{f}, err
}

func (deafFile) Sync() error { return syscall.EIO }

// What the disk did not take is not claimed any more, and whoever has it in
// memory is told that it may be nowhere else.
func TestRefusedBytesAreNotClaimed(t *testing.T) {
	of, data := content(t, 1<<20)
	dir := t.TempDir()
	p := New(deaf{}, dir, of, int64(len(data)))
	s := mustOpen(t, p)
	write(t, p, &s, data, Interval{0, 1 << 19})
	if _, err := p.Leave(s, 1<<20); err != nil {
		t.Fatal(err)
	}
	if p.Refused() {
		t.Error("refused before it was flushed")
	}
	if err := p.Flush(); !errors.Is(err, syscall.EIO) || !p.Refused() {
		t.Errorf("flushed: %v", err)
	}
	if s := mustOpen(t, New(disk.OS{}, dir, of, int64(len(data)))); len(s.Have) != 0 {
		t.Errorf("another process finds %v", s.Have)
	}
	// A transfer that went on with it knows.
	s = mustOpen(t, p)
	if len(s.Have) != 0 || p.Refused() {
		t.Errorf("begun anew: %v, refused: %v", s.Have, p.Refused())
	}
	write(t, p, &s, data, Interval{0, 1 << 19})
	if err := p.SaveMap(s); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(); err == nil || !p.Refused() {
		t.Errorf("flushed under a transfer: %v", err)
	}
	if err := p.SaveMap(s); err != nil {
		t.Fatal(err)
	}
	if s := mustOpen(t, New(disk.OS{}, dir, of, int64(len(data)))); len(s.Have) != 0 {
		t.Errorf("another process finds %v", s.Have)
	}
}

// A file that a source brought as a whole and that could not be published has no
// map, and is removed: there is no other part of it to come.
func TestAdoptedFileThatIsNotPublished(t *testing.T) {
	of, data := content(t, 1<<20)
	dir := t.TempDir()
	path := filepath.Join(dir, "brought")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Adopt(disk.OS{}, path, of, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(func(string) error { return syscall.ENOSPC }); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("published: %v", err)
	}
	var s Stock
	s.Add(Interval{0, int64(len(data))}, "a source", true)
	if err := p.SaveMap(s); err != nil {
		t.Error(err)
	}
	if left, err := p.Leave(s, 2<<20); left != 0 || err != nil {
		t.Errorf("%d bytes are left, %v", left, err)
	}
	if all := names(t, dir); len(all) != 0 {
		t.Errorf("left: %v", all)
	}
}
