package maker

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"testing"

	"pgregory.net/rapid"
)

// TestContentIsOne reads content in pieces and as a whole: the same bytes.
func TestContentIsOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, 200_000).Draw(t, "size")
		f := File{Size: size, Seed: rapid.Uint64().Draw(t, "seed"), Image: rapid.Bool().Draw(t, "image")}
		c := f.Content()
		whole, err := Bytes(c)
		if err != nil || int64(len(whole)) != size {
			t.Fatalf("%d of %d bytes: %v", len(whole), size, err)
		}
		off := rapid.Int64Range(0, size-1).Draw(t, "off")
		p := make([]byte, rapid.IntRange(1, 70_000).Draw(t, "n"))
		n, err := c.ReadAt(p, off)
		want := whole[off:min(size, off+int64(len(p)))]
		if !bytes.Equal(p[:n], want) || (n < len(p)) != (err == io.EOF) {
			t.Fatalf("ReadAt(%d bytes, %d) gives %d bytes, %v", len(p), off, n, err)
		}
	})
}

func TestImageOfAnySize(t *testing.T) {
	for _, size := range []int64{minImage, 500, blockData, blockData + blockHead + gzipHead + gzipTail - 1, blockData + blockHead + gzipHead + gzipTail, blockData + blockHead + gzipHead + gzipTail + 1,
		blockData + blockHead + gzipHead + gzipTail + blockHead + 1, 2*blockData + 77, 1 << 20} {
		data, err := Bytes(newImage(size, 7, 0))
		if err != nil || int64(len(data)) != size {
			t.Fatalf("size %d: %d bytes, %v", size, len(data), err)
		}
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		raw, err := io.ReadAll(z)
		if err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		voxels := 1
		for i := range 7 {
			voxels *= int(binary.LittleEndian.Uint16(raw[42+2*i:]))
		}
		if string(raw[344:348]) != "n+1\x00" || voxels < 1 || 2*voxels > len(raw)-niftiHead {
			t.Errorf("size %d: %d voxels in %d bytes", size, voxels, len(raw))
		}
	}
}
