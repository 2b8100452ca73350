package sevenzip

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/uniharmony/uniharmonyfs/internal/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stretch is a part of a file.
type stretch struct{ off, n int64 }

// file is an archive in memory, which keeps what was asked for.
type file struct {
	b     []byte
	asked []stretch
}

func (f *file) Fetch(ctx context.Context, off, n int64, w io.Writer) error {
	f.asked = append(f.asked, stretch{off, n})
	if off < 0 || n < 0 || off+n > int64(len(f.b)) {
		return errors.New("beyond the end")
	}
	for b := f.b[off : off+n]; len(b) > 0; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		part := b[:min(len(b), 100)]
		if _, err := w.Write(part); err != nil {
			return err
		}
		b = b[len(part):]
	}
	return nil
}

func read(t testing.TB, name string) *file {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".7z"))
	if err != nil {
		t.Fatal(err)
	}
	return &file{b: b}
}

func open(t testing.TB, f *file) *Archive {
	t.Helper()
	a, err := Open(t.Context(), f, int64(len(f.b)))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// seq is what the program of that name prints.
func seq(from, to int) []byte {
	var b bytes.Buffer
	for i := from; i <= to; i++ {
		fmt.Fprintln(&b, i)
	}
	return b.Bytes()
}

// contents are the files of every archive.
func contents() map[string][]byte {
	return map[string][]byte{"k0/8w/one/one": seq(1, 3000), "4F/mf/two/two": seq(5000, 7000), "9X/39/empty/empty": {}}
}

// Members are read as 7-Zip wrote them, by a few requests, and none for what is not
// wanted.
func TestMembersAreRead(t *testing.T) {
	for name, most := range map[string]int{"stored": 3, "plainheader": 2, "lzma": 3, "lzma2": 3, "solid": 3, "deflate": 3, "bzip2": 3} {
		t.Run(name, func(t *testing.T) {
			f := read(t, name)
			a := open(t, f)
			if len(f.asked) > most {
				t.Errorf("it took %d requests to open it: %v", len(f.asked), f.asked)
			}
			isStored := most == 2 || name == "stored"
			for path, want := range contents() {
				m, ok := a.Find(path)
				if !ok || m.Size != int64(len(want)) {
					t.Fatalf("%s: %v, %d bytes", path, ok, m.Size)
				}
				for _, p := range []stretch{{0, m.Size}, {0, min(10, m.Size)}, {m.Size / 3, m.Size / 2}, {m.Size, 0}} {
					f.asked = nil
					var got bytes.Buffer
					err := a.Fetch(t.Context(), f, m, p.off, p.n, &got)
					if !isStored && p.n < m.Size {
						if !errors.Is(err, source.ErrWholeOnly) || got.Len() > 0 {
							t.Errorf("%s: a part of it: %d bytes, %v", path, got.Len(), err)
						}
						continue
					}
					if err != nil || !bytes.Equal(got.Bytes(), want[p.off:p.off+p.n]) {
						t.Errorf("%s: %v: %d bytes, %v", path, p, got.Len(), err)
					}
					asked := int64(0)
					for _, s := range f.asked {
						asked += s.n
					}
					if len(f.asked) > 1 || isStored && asked != p.n || name != "solid" && asked > m.Size {
						t.Errorf("%s: for %v it asked for %v", path, p, f.asked)
					}
				}
			}
			for _, none := range []string{"", "k0", "k0/8w/one", "k0/8w/one/two", "../k0/8w/one/one", "k0/8w/one/one/"} {
				if m, ok := a.Find(none); ok {
					t.Errorf("%q is there: %v", none, m)
				}
			}
		})
	}
}

// What cannot be read says why.
func TestWhatIsNotRead(t *testing.T) {
	for name, says := range map[string]string{"ppmd": "a method that is not read here (030401)", "filtered": "several methods", "encrypted": "encrypted"} {
		f := read(t, name)
		a := open(t, f)
		m, ok := a.Find("k0/8w/one/one")
		if !ok {
			t.Fatalf("%s: it is not listed", name)
		}
		err := a.Fetch(t.Context(), f, m, 0, m.Size, io.Discard)
		if err == nil || !strings.Contains(err.Error(), says) || source.IsOutage(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f := read(t, "hidden")
	if _, err := Open(t.Context(), f, int64(len(f.b))); err == nil || !strings.Contains(err.Error(), "list of members cannot be read: it is encrypted") {
		t.Errorf("a hidden list: %v", err)
	}
	for _, b := range [][]byte{nil, []byte("PK"), bytes.Repeat([]byte("x"), 1000)} {
		if _, err := Open(t.Context(), &file{b: b}, int64(len(b))); err == nil {
			t.Errorf("%d bytes are an archive", len(b))
		}
	}
}

// cautiously opens an archive and reads all of it, which must take bounded memory and
// end; what it says may be an error.
func cautiously(t testing.TB, b []byte) {
	t.Helper()
	f := &file{b: b}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, err := Open(ctx, f, int64(len(b)))
	if err != nil {
		return
	}
	for name, m := range a.members {
		if m.Size > 1<<20 || m.off > 1<<20 {
			continue
		}
		var got bytes.Buffer
		err := a.Fetch(ctx, f, m, 0, m.Size, &got)
		if int64(got.Len()) > m.Size || err == nil && int64(got.Len()) != m.Size {
			t.Errorf("%q: %d bytes of %d, %v", name, got.Len(), m.Size, err)
		}
	}
	if ctx.Err() != nil {
		t.Error("it does not end")
	}
}

// Whatever byte is wrong, and wherever it ends, it is an error or other bytes.
func TestDamage(t *testing.T) {
	for _, name := range []string{"plainheader", "lzma", "solid"} {
		b := read(t, name).b
		for i := 0; i < len(b); i++ {
			if i > signatureSize && i < len(b)-350 && i%101 > 0 {
				continue // of the compressed bytes some
			}
			cautiously(t, b[:i])
			for _, flip := range []byte{1, 0xff} {
				bad := bytes.Clone(b)
				bad[i] ^= flip
				cautiously(t, resealed(bad))
			}
		}
	}
}

// resealed makes the checksums of an archive's header right again, where it has one.
func resealed(b []byte) []byte {
	off, n := binary.LittleEndian.Uint64(b[12:]), binary.LittleEndian.Uint64(b[20:])
	if end := uint64(len(b)); off <= end-signatureSize && n <= end-signatureSize-off {
		header := b[signatureSize+off:][:n]
		binary.LittleEndian.PutUint32(b[28:], crc32.ChecksumIEEE(header))
	}
	binary.LittleEndian.PutUint32(b[8:], crc32.ChecksumIEEE(b[12:32]))
	return b
}

// archive makes one of packed bytes and a header.
func archive(packed, header []byte) []byte {
	b := make([]byte, signatureSize, signatureSize+len(packed)+len(header))
	copy(b, signature)
	binary.LittleEndian.PutUint64(b[12:], uint64(len(packed)))
	binary.LittleEndian.PutUint64(b[20:], uint64(len(header)))
	return resealed(append(append(b, packed...), header...))
}

// huge is a number of nine bytes.
func huge(n uint64) []byte { return binary.LittleEndian.AppendUint64([]byte{0xff}, n) }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// member is the header of one file called "a", of one block.
func member(packed, size uint64, coder []byte) []byte {
	return join([]byte{idHeader, idStreams, idPackInfo, 0, 1, idSize}, huge(packed), []byte{idEnd},
		[]byte{idUnpackInfo, idFolder, 1, 0, 1}, coder, []byte{idUnpackSizes}, huge(size), []byte{idEnd, idEnd},
		[]byte{idFiles, 1, idNames, 5, 0, 'a', 0, 0, 0, idEnd, idEnd})
}

// What an archive says of itself takes no memory and no time.
func TestBombs(t *testing.T) {
	lzma := func(dictionary uint32) []byte {
		return append([]byte{0x23, 3, 1, 1, 5, 0x5d}, binary.LittleEndian.AppendUint32(nil, dictionary)...)
	}
	zeros := bytes.Repeat([]byte{0}, 1000)
	many := huge(1 << 40)
	for name, b := range map[string][]byte{
		"many files":      archive(nil, join([]byte{idHeader, idFiles}, many)),
		"many streams":    archive(nil, join([]byte{idHeader, idStreams, idPackInfo, 0}, many, []byte{idSize})),
		"many blocks":     archive(nil, join([]byte{idHeader, idStreams, idPackInfo, 0, 0, idEnd, idUnpackInfo, idFolder}, many)),
		"many coders":     archive(nil, join([]byte{idHeader, idStreams, idPackInfo, 0, 1, idSize, 1, idEnd, idUnpackInfo, idFolder, 1, 0}, many)),
		"large props":     archive(nil, join([]byte{idHeader, idStreams, idPackInfo, 0, 1, idSize, 1, idEnd, idUnpackInfo, idFolder, 1, 0, 1, 0x21, 0}, many)),
		"dictionary":      archive(zeros, member(1000, 1<<40, lzma(1<<32-1))),
		"dictionary 2":    archive(zeros, member(1000, 1<<40, []byte{0x21, 0x21, 1, 40})),
		"large":           archive(zeros, member(1000, 1<<62, []byte{1, 0})),
		"packed too much": archive(zeros, member(1001, 1000, []byte{1, 0})),
		"packed overflow": archive(zeros, member(1<<63, 1000, []byte{1, 0})),
		"header of bytes": resealed(append(binary.LittleEndian.AppendUint64(append([]byte(signature), make([]byte, 14)...), 1<<40), 0, 0, 0, 0)),
		"list that grows": archive(zeros, join([]byte{idEncodedHeader, idPackInfo, 0, 1, idSize, 100, idEnd, idUnpackInfo, idFolder, 1, 0, 1}, lzma(1<<31), []byte{idUnpackSizes}, huge(1<<40), []byte{idEnd, idEnd})),
		"list in itself":  archive(nil, []byte{idEncodedHeader, idPackInfo, 0, 0, idEnd, idEnd}),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			cautiously(t, b)
			f := &file{b: b}
			if a, err := Open(t.Context(), f, int64(len(b))); err == nil {
				if m, ok := a.Find("a"); ok {
					if err := a.Fetch(t.Context(), f, m, 0, m.Size, io.Discard); err == nil {
						t.Error("there is no error")
					}
				}
			}
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; took > 8<<20 {
				t.Errorf("it took %d bytes of memory", took)
			}
		})
	}
	// What would lie beyond the list of members is refused with it.
	for _, packed := range []uint64{1001, 1 << 40, 1 << 63} {
		b := archive(zeros, member(packed, 1000, []byte{1, 0}))
		if _, err := Open(t.Context(), &file{b: b}, int64(len(b))); !errors.Is(err, errDamaged) {
			t.Errorf("%d bytes of 1000: %v", packed, err)
		}
	}
	// The hand-made header is a right one otherwise.
	a := open(t, &file{b: archive(zeros, member(1000, 1000, []byte{1, 0}))})
	if m, ok := a.Find("a"); !ok || m.Size != 1000 {
		t.Errorf("%v, %v", m, ok)
	}
	// A solid block is gone through to a bound only.
	m := Member{Size: 1, off: maxSolid + 1}
	a.blocks[0].method, a.blocks[0].props = lzma2, []byte{0}
	if err := a.Fetch(t.Context(), &file{}, m, 0, 1, io.Discard); err == nil || !strings.Contains(err.Error(), "solid") {
		t.Errorf("behind 4 GiB: %v", err)
	}
}

// A list that is as long as it says takes little more memory than its bytes: compressed
// it may be very small, and others are kept beside it.
func TestLongLists(t *testing.T) {
	const n = 4 << 20
	zeros := make([]byte, 2*n+10)
	streams := []byte{idHeader, idStreams, idPackInfo, 0, 0, idEnd, idUnpackInfo, idFolder}
	for name, header := range map[string][]byte{
		"files":   join([]byte{idHeader, idFiles}, huge(n), []byte{idNames}, huge(2*n+1), zeros[:2*n+1], []byte{idEnd, idEnd}),
		"blocks":  join(streams, huge(n), zeros),
		"members": join([]byte{idHeader, idStreams, idPackInfo, 0, 1, idSize, 1, idEnd, idUnpackInfo, idFolder, 1, 0, 1, 1, 0, idUnpackSizes, 1, idEnd, idSubStreams, idStreamCounts}, huge(n), []byte{idSize}, zeros),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := readHeader(header, 100)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; err == nil || took > 1<<20 {
			t.Errorf("%s: it took %d bytes of memory, and %v", name, took, err)
		}
	}
}

// Nothing goes on behind when whoever takes the content has a defect.
func TestPanicOfTheWriter(t *testing.T) {
	defer goleak.VerifyNone(t)
	var packed bytes.Buffer
	w, _ := flate.NewWriter(&packed, flate.NoCompression)
	w.Write(make([]byte, 100_000))
	w.Close()
	f := &file{b: archive(packed.Bytes(), member(uint64(packed.Len()), 100_000, []byte{3, 4, 1, 8}))}
	a := open(t, f)
	m, _ := a.Find("a")
	defer func() {
		if recover() == nil {
			t.Error("no panic: the test shows nothing")
		}
	}()
	a.Fetch(t.Context(), atOnce{f}, m, 0, m.Size, panicking{})
}

// atOnce is an archive that comes in one piece.
type atOnce struct{ *file }

func (f atOnce) Fetch(_ context.Context, off, n int64, w io.Writer) error {
	_, err := w.Write(f.b[off : off+n])
	return err
}

type panicking struct{}

func (panicking) Write([]byte) (int, error) { panic("x") }

// failing fails after some bytes.
type failing struct {
	left int
	err  error
}

func (f *failing) Write(p []byte) (int, error) {
	if len(p) > f.left {
		return 0, f.err
	}
	f.left -= len(p)
	return len(p), nil
}

// breaking is an archive whose place fails after some bytes.
type breaking struct {
	file
	after int
	err   error
}

func (b *breaking) Fetch(ctx context.Context, off, n int64, w io.Writer) error {
	if err := b.file.Fetch(ctx, off, min(n, int64(b.after)), w); err != nil {
		return err
	}
	return b.err
}

// Whose failure it is can be told, and nothing goes on behind.
func TestFailuresKeepTheirClass(t *testing.T) {
	for _, name := range []string{"stored", "lzma", "solid", "bzip2"} {
		f := read(t, name)
		a := open(t, f)
		m, _ := a.Find("k0/8w/one/one")
		mine := errors.New("my own")
		if err := a.Fetch(t.Context(), f, m, 0, m.Size, &failing{left: 100, err: mine}); err != mine {
			t.Errorf("%s: the writer's error became %v", name, err)
		}
		out := source.Outage(errors.New("away"))
		if err := a.Fetch(t.Context(), &breaking{file: *f, after: 50, err: out}, m, 0, m.Size, io.Discard); !source.IsOutage(err) {
			t.Errorf("%s: the outage became %v", name, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := a.Fetch(ctx, f, m, 0, m.Size, io.Discard); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the end became %v", name, err)
		}
		if _, err := Open(ctx, f, int64(len(f.b))); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the end became %v", name, err)
		}
		if _, err := Open(t.Context(), &breaking{file: *f, after: 10, err: out}, int64(len(f.b))); !source.IsOutage(err) {
			t.Errorf("%s: the outage became %v", name, err)
		}
	}
}

// Members that are decompressed at the same time share the memory for that: who finds
// none left waits, and asks for nothing meanwhile.
func TestMemoryIsShared(t *testing.T) {
	f := read(t, "lzma")
	a := open(t, f)
	m, _ := a.Find("k0/8w/one/one")
	if err := a.memory.Acquire(t.Context(), maxDictionary); err != nil {
		t.Fatal(err)
	}
	f.asked = nil
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := a.Fetch(ctx, f, m, 0, m.Size, io.Discard); !errors.Is(err, context.DeadlineExceeded) || len(f.asked) > 0 {
		t.Errorf("without memory: %v; it asked for %v", err, f.asked)
	}
	a.memory.Release(maxDictionary)
	for range 2 {
		if err := a.Fetch(t.Context(), f, m, 0, m.Size, io.Discard); err != nil {
			t.Error(err)
		}
	}
}

func FuzzArchive(f *testing.F) {
	names, err := filepath.Glob("testdata/*.7z")
	if err != nil || len(names) == 0 {
		f.Fatal("no archives", err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= signatureSize {
			b = resealed(bytes.Clone(b))
		}
		cautiously(t, b)
	})
}
