package unpack

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seq is what the program of that name prints.
func seq(from, to int) string {
	var b strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprintln(&b, i)
	}
	return b.String()
}

var long = fmt.Sprintf("top/sub-01/func/sub-01_task-%0150d_bold.nii.gz", 7)

// contents are the files of every archive.
func contents() map[string]string {
	return map[string]string{
		"top/sub-01/func/one": seq(1, 3000), "top/sub-01/func/a b+c&d#e%f": seq(5000, 7000), long: seq(1, 100), "top/ü": "ü", "top/empty": "",
	}
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// get brings a file of an archive.
func get(t testing.TB, archive []byte, name string, size int) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got bytes.Buffer
	err := File(ctx, bytes.NewReader(archive), int64(len(archive)), name, int64(size), &got)
	if ctx.Err() != nil {
		t.Error("it does not end")
	}
	if got.Len() > size || err == nil && got.Len() != size {
		t.Errorf("%s: %d bytes of %d, %v", name, got.Len(), size, err)
	}
	return got.String(), err
}

func TestFilesOfArchives(t *testing.T) {
	for _, name := range []string{"gnu.tar", "pax.tar.gz", "dot.tar.gz", "pax.tar.bz2", "default.tar.xz", "best.tar.xz", "blocks.tar.xz", "python.zip", "seven.7z"} {
		b := read(t, name)
		for path, want := range contents() {
			for _, spelt := range []string{path, "/" + path, "./" + path} {
				if name == "seven.7z" && spelt != path {
					continue
				}
				if got, err := get(t, b, spelt, len(want)); err != nil || got != want {
					t.Errorf("%s: %s: %d bytes, %v", name, spelt, len(got), err)
				}
			}
			if _, err := get(t, b, path, len(want)+1); !errors.Is(err, errNotThere) {
				t.Errorf("%s: %s with another size: %v", name, path, err)
			}
		}
		for _, none := range []string{"", ".", "/", "top", "top/sub-01", "top/none", "../top/ü", "sub-01/func/one", "top/link/x"} {
			if _, err := get(t, b, none, 0); !errors.Is(err, errNotThere) {
				t.Errorf("%s: %q: %v", name, none, err)
			}
		}
	}
	// A link is not followed, wherever it leads.
	for link, size := range map[string]int{"top/link": 0, "top/zhard": len(seq(1, 3000))} {
		if _, err := get(t, read(t, "gnu.tar"), link, size); err == nil {
			t.Errorf("%s was followed", link)
		}
	}
	if _, err := get(t, read(t, "gnu.tar"), "top/zhard", 0); err == nil || !strings.Contains(err.Error(), "link") {
		t.Errorf("a hard link: %v", err)
	}
}

func TestWhatIsNotUnpacked(t *testing.T) {
	for name, says := range map[string]string{"large.tar.xz": "more than 64 MiB of memory", "filtered.tar.xz": "several methods"} {
		if _, err := get(t, read(t, name), long, 292); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, b := range [][]byte{nil, []byte("PK"), []byte("a text that is no archive"), make([]byte, 10), bytes.Repeat([]byte("x"), 5000)} {
		if _, err := get(t, b, "x", 1); err == nil {
			t.Errorf("%.20q is an archive", b)
		}
	}
}

// Whatever byte is wrong, and wherever it ends, it ends, with an error or other bytes.
func TestDamage(t *testing.T) {
	for _, name := range []string{"pax.tar.gz", "pax.tar.bz2", "default.tar.xz", "blocks.tar.xz", "python.zip", "seven.7z"} {
		b := read(t, name)
		for i := 0; i < len(b); i += 1 + len(b)/40 {
			get(t, b[:i], "top/ü", 2)
			bad := bytes.Clone(b)
			bad[i] ^= 0xff
			get(t, bad, "top/ü", 2)
		}
	}
}

// What an archive says of itself takes bounded memory and time, and no more is written
// than there should be.
func TestBombs(t *testing.T) {
	zeros := make([]byte, 1<<20)
	gz := func(fill func(w io.Writer)) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		fill(w)
		w.Close()
		return b.Bytes()
	}
	bomb := gz(func(w io.Writer) {
		t := tar.NewWriter(w)
		t.WriteHeader(&tar.Header{Name: "bomb", Size: 3 << 20, Mode: 0o600, Typeflag: tar.TypeReg})
		for range 3 {
			t.Write(zeros)
		}
		t.WriteHeader(&tar.Header{Name: "a", Size: 1, Mode: 0o600, Typeflag: tar.TypeReg})
		t.Write([]byte("a"))
		t.Close()
	})
	for most, says := range map[int64]string{2 << 20: "decompresses to more than", 4 << 20: ""} {
		err := unpack(&reading{ctx: t.Context(), r: bytes.NewReader(bomb), n: int64(len(bomb)), most: most}, "a", 1, io.Discard)
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("a bomb of %d bytes, of which %d are allowed: %v", len(bomb), most, err)
		}
	}
	// A list of files without end, and a short one with a large file.
	var many bytes.Buffer
	list := zip.NewWriter(&many)
	for i := range 5000 {
		list.Create(fmt.Sprint(i))
	}
	last, err := list.CreateHeader(&zip.FileHeader{Name: "a", Method: zip.Store})
	if err != nil {
		t.Fatal(err)
	}
	last.Write(zeros)
	list.Close()
	for most, says := range map[int64]string{100 << 10: "list of files is too large", 512 << 10: ""} {
		err := unpack(&reading{ctx: t.Context(), r: bytes.NewReader(many.Bytes()), n: int64(many.Len()), list: most}, "a", 1<<20, io.Discard)
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("of a list %d bytes are allowed: %v", most, err)
		}
	}
	var lying bytes.Buffer
	z := zip.NewWriter(&lying)
	w, err := z.CreateHeader(&zip.FileHeader{Name: "a", Method: zip.Deflate})
	if err != nil {
		t.Fatal(err)
	}
	w.Write(zeros)
	z.Close()
	lies := lying.Bytes()
	at := bytes.LastIndex(lies, []byte("PK\x01\x02")) // the directory's entry: the size is said there
	copy(lies[at+24:], []byte{10, 0, 0, 0})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := get(t, lies, "a", 10); err == nil {
		t.Error("a size that lies is believed")
	}
	for _, b := range [][]byte{
		append([]byte("\xfd7zXZ\x00\x00\x00abcd\x02\x00\x21\x01\x28\x00\x00\x00abcd"), zeros[:1000]...), // 4 GiB of dictionary
		append([]byte("7z\xbc\xaf\x27\x1c"), zeros[:1000]...),
		append([]byte("PK\x05\x06\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"), zeros[:6]...),
	} {
		if _, err := get(t, b, "a", 1); err == nil {
			t.Errorf("%.10q is an archive", b)
		}
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 32<<20 {
		t.Errorf("it took %d bytes of memory", took)
	}
}

func TestNoMoreIsWrittenThanThereShouldBe(t *testing.T) {
	var got bytes.Buffer
	w := &writing{ctx: t.Context(), w: &got, left: 5}
	if _, err := w.Write([]byte("123")); err != nil {
		t.Fatal(err)
	}
	if n, err := w.Write([]byte("456")); err == nil || n > 0 || got.String() != "123" {
		t.Errorf("%d more were written: %q, %v", n, got.String(), err)
	}
	if _, err := w.Write([]byte("45")); err != nil || w.left != 0 {
		t.Errorf("%d are left, %v", w.left, err)
	}
}

// The writer's failure is its own, and an asker who leaves is let go.
func TestFailuresKeepTheirClass(t *testing.T) {
	mine := errors.New("my own")
	for _, name := range []string{"gnu.tar", "pax.tar.gz", "default.tar.xz", "python.zip", "seven.7z"} {
		b := read(t, name)
		size := int64(len(seq(1, 3000)))
		err := File(t.Context(), bytes.NewReader(b), int64(len(b)), "top/sub-01/func/one", size, failing{mine})
		if err != mine {
			t.Errorf("%s: the writer's error became %v", name, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := File(ctx, bytes.NewReader(b), int64(len(b)), "top/sub-01/func/one", size, io.Discard); err != context.Canceled {
			t.Errorf("%s: the end became %v", name, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
