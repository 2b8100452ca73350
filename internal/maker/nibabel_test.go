package maker_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

func TestNibabelReadsImages(t *testing.T) {
	program := gittest.Python(t, "nibabel")
	dir := t.TempDir()
	d := demo.Dataset()
	large := maker.BIDS(maker.BIDSOptions{Subjects: 1, ImageSize: 500_000})
	for i := range large.Files {
		large.Files[i].Path = "large/" + large.Files[i].Path
	}
	d.Files = append(d.Files, large.Files...)
	if err := made(t, d).Materialize(dir); err != nil {
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
		out := gittest.Run(t, dir, program, "-c", script, filepath.Join(dir, path))
		if got := strings.TrimSpace(out); got != shape+" int16 True True" {
			t.Errorf("%s: %s, want %s", path, got, shape)
		}
	}
}
