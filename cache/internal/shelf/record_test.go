package shelf

import (
	"math"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

func TestRecordsAreDecodedAsTheyWere(t *testing.T) {
	key := annex.GitKey("60034b8747ef3da003f5c9f9fc576d2f3a241989", 3)
	for _, r := range []Record{
		{Key: key},
		{Key: key, Size: 7994169, MTime: -5, CTime: math.MaxInt64, Inode: 1 << 60, Seq: math.MaxUint64, Owner: "ds:/data/my mount"},
	} {
		if got, err := DecodeRecord(key.String(), r.Encode()); err != nil || got != r {
			t.Errorf("%+v became %+v, %v", r, got, err)
		}
		whole := r.Encode()
		for n := range len(whole) - len(r.Owner) {
			if got, err := DecodeRecord(key.String(), whole[:n]); err == nil {
				t.Errorf("the first %d bytes of %+v are %+v", n, r, got)
			}
		}
	}
	if r, err := DecodeRecord("../../etc/passwd", Record{}.Encode()); err == nil {
		t.Errorf("no key, and yet %+v", r)
	}
}
