package demo

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// python returns a Python that has the module.
func python(t *testing.T, module string) string {
	t.Helper()
	program := os.Getenv("UNIHARMONYFS_TEST_PYTHON")
	if program == "" {
		program = "python3"
	}
	if err := exec.Command(program, "-c", "import "+module).Run(); err != nil {
		t.Skipf("%s has no module %s; name one that has in UNIHARMONYFS_TEST_PYTHON", program, module)
	}
	return program
}

func TestNibabelReadsImages(t *testing.T) {
	program := python(t, "nibabel")
	dir := t.TempDir()
	d := DemoDataset()
	large := BIDS(BIDSOptions{Subjects: 1, ImageSize: 500_000})
	for i := range large.Files {
		large.Files[i].Path = "large/" + large.Files[i].Path
	}
	d.Files = append(d.Files, large.Files...)
	if err := mustMake(t, t.TempDir(), d).Materialize(dir); err != nil {
		t.Fatal(err)
	}
	const script = `
import sys, nibabel, numpy
for p in sys.argv[1:]:
    i = nibabel.load(p)
    d = numpy.asanyarray(i.dataobj)
    print(" ".join(map(str, d.shape)), d.dtype, d.std() > 0, "mm sec" == " ".join(i.header.get_xyzt_units()))
`
	want := map[string]string{
		"sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz":            "24 28 20",
		"sub-02/ses-02/func/sub-02_ses-02_task-rest_bold.nii.gz": "16 16 10 12",
		"sub-01/ses-01/dwi/sub-01_ses-01_dwi.nii.gz":             "16 16 10 7",
		"sub-01/ses-01/fmap/sub-01_ses-01_phasediff.nii.gz":      "16 16 10",
		"large/sub-01/dwi/sub-01_dwi.nii.gz":                     "64 64 8 7",
		"large/sub-01/anat/sub-01_T1w.nii.gz":                    "64 64 60",
	}
	for path, shape := range want {
		out := run(t, dir, program, "-c", script, filepath.Join(dir, path))
		if got := strings.TrimSpace(out); got != shape+" int16 True True" {
			t.Errorf("%s: %s, want %s", path, got, shape)
		}
	}
}
