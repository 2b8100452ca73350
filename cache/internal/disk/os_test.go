package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Only regular files are opened, through no link, and nothing waits.
func TestOnlyRegularFilesAreOpened(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	err := errors.Join(
		os.WriteFile(at("file"), []byte("x"), 0o600), os.Symlink("file", at("link")), os.Symlink("nowhere", at("dangling")),
		syscall.Mkfifo(at("pipe"), 0o600), os.Mkdir(at("dir"), 0o700),
	)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		"file": nil, "link": ErrNotRegular, "dangling": ErrNotRegular, "pipe": ErrNotRegular, "dir": ErrNotRegular, "none": fs.ErrNotExist,
	} {
		f, err := OS{}.Open(at(name))
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if err == nil {
			f.Close()
		}
	}
	if _, err := (OS{}).Create(at("file")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made over a file: %v", err)
	}
}

// An ID tells of a change whose time was set back.
func TestIDTellsOfAnyChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Unix(1_000_000, 0)
	look := func() ID {
		t.Helper()
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
		f, err := OS{}.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if at, err := (OS{}).Stat(path); err != nil || at.ID != info.ID {
			t.Errorf("by its name it is another file: %v", err)
		}
		return info.ID
	}
	before := look()
	for start := time.Now(); look() == before; { // clocks of file systems are coarse
		if time.Since(start) > 10*time.Second {
			t.Fatal("the change is not to be seen")
		}
		if err := os.WriteFile(path, []byte("after!"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if after := look(); after.MTime != before.MTime || after.Size != before.Size || after.Inode != before.Inode {
		t.Errorf("%+v, before %+v", after, before)
	}
}

// Blocks are taken and given back without the size changing.
func TestAllocateAndPunch(t *testing.T) {
	f, err := OS{}.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 64 * Block
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	blocks := func() int64 {
		info, err := f.Stat()
		if err != nil || info.Size != size {
			t.Fatalf("%d bytes, %v", info.Size, err)
		}
		return info.Blocks
	}
	if err := f.Allocate(0, size); err != nil {
		t.Fatal(err)
	}
	full := blocks()
	if full == 0 {
		t.Skip("skipped: this file system allocates nothing ahead")
	}
	// Only whole blocks go.
	if err := f.Punch(Block+1, 10*Block); err != nil || blocks() != full-9*Block {
		t.Errorf("%d of %d bytes of blocks after the punch: %v", blocks(), full, err)
	}
	if err := f.Allocate(0, 0); err != nil {
		t.Error(err)
	}
}

// What is read after Uncache comes from the disk, not from the kernel's memory.
func TestUncache(t *testing.T) {
	const size = 64 * Block
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		t.Fatal(err)
	}
	f, err := OS{}.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := errors.Join(f.Sync(), f.Uncache()); err != nil {
		t.Fatal(err)
	}
	if st.Type == unix.TMPFS_MAGIC {
		return // there the memory is the disk
	}
	m, err := unix.Mmap(int(f.OS().Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m)
	pages := make([]byte, size/os.Getpagesize())
	if _, _, no := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), size, uintptr(unsafe.Pointer(&pages[0]))); no != 0 {
		t.Fatal(no)
	}
	for i, p := range pages {
		if p&1 != 0 {
			t.Fatalf("page %d is still in memory", i)
		}
	}
}
