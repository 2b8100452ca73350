package gitstore

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// packWriter makes a pack of objects that git would not make.
type packWriter struct {
	bytes.Buffer
	objects uint32
	last    int // where the object before begins
}

func newPack() *packWriter {
	p := &packWriter{}
	p.Write(append([]byte("PACK"), 0, 0, 0, 2, 0, 0, 0, 0))
	return p
}

// add writes an object; deltas build on the one before.
func (p *packWriter) add(kind byte, content []byte) {
	at := p.Len()
	size := len(content)
	head := kind<<4 | byte(size&15)
	for size >>= 4; size > 0; size >>= 7 {
		p.WriteByte(head | 0x80)
		head = byte(size & 0x7f)
	}
	p.WriteByte(head)
	if kind == 6 { // a delta of the object that lies so far before
		var digits []byte
		back := at - p.last
		digits = append(digits, byte(back&0x7f))
		for back >>= 7; back > 0; back >>= 7 {
			back--
			digits = append(digits, 0x80|byte(back&0x7f))
		}
		for i := len(digits) - 1; i >= 0; i-- {
			p.WriteByte(digits[i])
		}
	}
	z := zlib.NewWriter(p)
	z.Write(content)
	z.Close()
	p.last, p.objects = at, p.objects+1
}

// store writes the pack into a repository.
func (p *packWriter) store(t *testing.T, dir string) {
	t.Helper()
	b := p.Bytes()
	binary.BigEndian.PutUint32(b[8:], p.objects)
	sum := sha1.Sum(b)
	name := filepath.Join(dir, ".git/objects/pack", fmt.Sprintf("pack-%x.pack", sum))
	os.MkdirAll(filepath.Dir(name), 0o755)
	if err := os.WriteFile(name, append(b, sum[:]...), 0o444); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("git", "-c", "core.deltaBaseCacheLimit=16m", "index-pack", name).CombinedOutput(); err != nil {
		t.Fatalf("git index-pack: %v: %s", err, out)
	}
}

// delta makes an object of to bytes by copying the first size bytes of the one
// before, over and over, and then what is given.
func delta(from, to, size int, rest string) (d []byte) {
	d = binary.AppendUvarint(d, uint64(from))
	d = binary.AppendUvarint(d, uint64(to))
	for left := to - len(rest); left > 0; left -= size {
		n := min(left, size)
		d = append(d, 0x80|0x70, byte(n), byte(n>>8), byte(n>>16)) // from the beginning
	}
	if rest != "" {
		d = append(append(d, byte(len(rest))), rest...)
	}
	return d
}

const blobKind = 3

// A blob of any size is copied without being in memory, however little the
// repository needs for it.
func TestHugeBlobsAreStreamed(t *testing.T) {
	const size = 200 << 20
	dir := newRepository(t)
	zeros := func() io.Reader { return io.LimitReader(zeroReader{}, size) }
	cmd := exec.Command("git", "-C", dir, "hash-object", "-w", "--stdin")
	cmd.Stdin = zeros()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	id := OID(strings.TrimSpace(string(out)))
	backends(t, func(t *testing.T, o Options) {
		s := open(t, dir, o)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		n, err := s.Copy(context.Background(), id, io.Discard)
		runtime.ReadMemStats(&after)
		if n != size || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		if took := after.HeapSys - before.HeapSys; after.HeapSys > before.HeapSys && took > 64<<20 {
			t.Errorf("it took %d MiB", took>>20)
		}
		if _, _, err := s.Read(context.Background(), id); !errors.Is(err, ErrTooLarge) {
			t.Errorf("read as a whole: %v", err)
		}
	})
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A small difference can stand for an object of any size, which git holds in
// memory: more than it may take is an error, and the store goes on.
func TestGitsMemoryIsBounded(t *testing.T) {
	dir := newRepository(t)
	const small, large = 1 << 20, 200 << 20
	p := newPack()
	p.add(blobKind, make([]byte, small))
	p.add(6, delta(small, large, small, ""))
	p.store(t, dir)
	id := hashObject("blob", make([]byte, large))
	s := open(t, dir, Options{Git: "git"})
	s.backend.(*git).memory = 64 << 20
	if _, err := s.Copy(context.Background(), id, io.Discard); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "emory") {
		t.Errorf("%v", err)
	}
	if _, _, err := s.Read(context.Background(), OID(gitRun(t, dir, "rev-parse", "main"))); err != nil {
		t.Errorf("the store is of no use afterwards: %v", err)
	}
	s = open(t, dir, Options{Git: "git"})
	if n, err := s.Copy(context.Background(), id, io.Discard); n != large || err != nil {
		t.Errorf("with the usual memory: %d bytes, %v", n, err)
	}
}

// Differences from differences are followed as deep as they go.
func TestDeepDeltas(t *testing.T) {
	dir := newRepository(t)
	const depth = 4_000
	p := newPack()
	text := "x"
	p.add(blobKind, []byte(text))
	for i := range depth {
		more := string(rune('a' + i%26))
		p.add(6, delta(len(text), len(text)+1, len(text), more))
		text += more
		if len(text) > 100 { // the next begins anew
			p.add(6, delta(len(text), 1, 1, ""))
			text = "x"
		}
	}
	p.store(t, dir)
	id := hashObject("blob", []byte(text))
	backends(t, func(t *testing.T, o Options) {
		if _, data, err := open(t, dir, o).Read(context.Background(), id); err != nil || string(data) != text {
			t.Errorf("%d bytes, %v", len(data), err)
		}
	})
}
