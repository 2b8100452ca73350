package maker

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"math"
)

// niftiHead is the length of a NIfTI-1 header with its (empty) extension
// mark: the voxels' offset in a .nii file, in bytes.
const niftiHead = 352

// volume is a NIfTI-1 image of int16 voxels.
type volume struct {
	dims []int     // x, y, z and perhaps time
	size []float32 // of a voxel in mm and, for a fourth, repetition time in s
	seed uint64
}

// header returns the image's header.
// https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h
func (v volume) header() []byte {
	h := make([]byte, niftiHead)
	le := binary.LittleEndian
	float := func(at int, f float32) { le.PutUint32(h[at:], math.Float32bits(f)) }
	le.PutUint32(h, 348)
	h[38] = 'r' // "regular", unused but always so
	le.PutUint16(h[40:], uint16(len(v.dims)))
	for i := range 7 {
		n, side := 1, float32(1)
		if i < len(v.dims) {
			n = v.dims[i]
		}
		if i < len(v.size) {
			side = v.size[i]
		}
		le.PutUint16(h[42+2*i:], uint16(n))
		float(80+4*i, side) // pixdim[1+i]
	}
	le.PutUint16(h[70:], 4)  // datatype: int16
	le.PutUint16(h[72:], 16) // bits a voxel
	float(76, 1)             // pixdim[0]: qfac
	float(108, niftiHead)    // vox_offset
	float(112, 1)            // scl_slope
	h[123] = 2 | 8           // mm and seconds
	copy(h[148:], "uniharmonyfs demo: no real brain")
	le.PutUint16(h[252:], 1) // qform_code: scanner coordinates
	le.PutUint16(h[254:], 1) // sform_code
	for i := range 3 {
		side := float32(1)
		if i < len(v.size) {
			side = v.size[i]
		}
		middle := -side * float32(v.dim(i)-1) / 2
		float(268+4*i, middle) // qoffset_x, _y, _z; the quaternion is 0
		float(280+16*i+4*i, side)
		float(280+16*i+12, middle)
	}
	copy(h[344:], "n+1\x00")
	return h
}

func (v volume) dim(i int) int {
	if i < len(v.dims) {
		return v.dims[i]
	}
	return 1
}

// gzipped returns the image as a .nii.gz file: a bright ellipsoid with some
// noise, so that it compresses about as scans do.
func (v volume) gzipped() []byte {
	nx, ny, nz, nt := v.dim(0), v.dim(1), v.dim(2), v.dim(3)
	raw := v.header()
	i := uint64(0)
	for range nt {
		for z := range nz {
			for y := range ny {
				for x := range nx {
					value := mix(v.seed, i) & 15
					i++
					if inside(x, nx)+inside(y, ny)+inside(z, nz) < 0.8 {
						value += 600 + mix(v.seed, i)&127
					}
					raw = binary.LittleEndian.AppendUint16(raw, uint16(value))
				}
			}
		}
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(raw)
	w.Close()
	return b.Bytes()
}

// inside returns the squared distance of i from the middle of n, 1 at the rim.
func inside(i, n int) float64 {
	d := (2*float64(i) + 1 - float64(n)) / float64(n)
	return d * d
}
