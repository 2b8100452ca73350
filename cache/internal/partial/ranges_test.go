package partial

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// The set agrees with a plain list of bytes, and with itself after a round trip.
func TestRangesAgreeWithBytes(t *testing.T) {
	const size = 200
	rapid.Check(t, func(t *rapid.T) {
		var r Ranges
		var model [size]bool
		draw := func() Interval {
			a, b := rapid.Int64Range(0, size).Draw(t, "a"), rapid.Int64Range(0, size).Draw(t, "b")
			return Interval{min(a, b), max(a, b)}
		}
		for range rapid.IntRange(0, 20).Draw(t, "n") {
			i := draw()
			r.Add(i)
			for k := i.Off; k < i.End; k++ {
				model[k] = true
			}
		}
		sum := int64(0)
		for k, in := range model {
			if in {
				sum++
			}
			if r.Has(Interval{int64(k), int64(k + 1)}) != in {
				t.Fatalf("byte %d in %v: want %v", k, r, in)
			}
		}
		prefix := int64(slices.Index(append(model[:], false), false))
		if r.Sum() != sum || r.From(0) != prefix {
			t.Fatalf("%v: sum %d, want %d; prefix %d, want %d", r, r.Sum(), sum, r.From(0), prefix)
		}
		i := draw()
		gap := i
		for gap.Off < gap.End && model[gap.Off] {
			gap.Off++
		}
		for k := gap.Off; k < gap.End; k++ {
			if model[k] {
				gap.End = k
			}
		}
		if got := r.Gap(i); got.Len() != gap.Len() || gap.Len() > 0 && got != gap {
			t.Fatalf("%v: gap in %v is %v, want %v", r, i, got, gap)
		}
		for k := 1; k < len(r); k++ {
			if r[k].Off <= r[k-1].End {
				t.Fatalf("%v is not in order, or touches", r)
			}
		}
		back, err := parseRanges(r.appendTo(nil), size)
		if err != nil || !slices.Equal(back, r) {
			t.Fatalf("%v came back as %v, %v", r, back, err)
		}
	})
}

// Whatever a map says, its ranges are in order and within the content.
func FuzzParseRanges(f *testing.F) {
	f.Add([]byte{0, 5, 3, 1}, int64(10))
	f.Add([]byte{0x80}, int64(10))
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, int64(1<<62))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		if size < 0 {
			return
		}
		r, err := parseRanges(b, size)
		if err != nil {
			return
		}
		last := int64(-1)
		for _, i := range r {
			if i.Off <= last || i.Len() <= 0 || i.End > size {
				t.Fatalf("%v of %d bytes", r, size)
			}
			last = i.End
		}
	})
}

// A map says what was put into it, and who sent it; whatever else is in its
// file is refused or is in order, and no byte has two senders.
func FuzzMap(f *testing.F) {
	key := mustKey(f, "SHA256E-s10485760--0000000000000000000000000000000000000000000000000000000000000000.nii.gz")
	of, boot := Ident{Key: key, Dataset: "ds"}, [16]byte{1}
	var s Stock
	s.Add(Interval{0, 4096}, "https://one", true)
	s.Add(Interval{8192, 9000}, "two", false)
	whole := s.encode(of, boot, false)
	got, back, err := decode(whole, boot)
	if err != nil || got != of || !slices.Equal(back.Have, s.Have) || !slices.Equal(back.Exact, s.Exact) || len(back.From) != 2 {
		f.Fatalf("%v: %+v", err, back)
	}
	if _, _, err := decode(whole, [16]byte{2}); err == nil {
		f.Fatal("believed after a restart of the machine")
	}
	if _, _, err := decode(s.encode(of, boot, true), [16]byte{2}); err != nil {
		f.Fatalf("flushed, and not believed: %v", err)
	}
	f.Add(whole)
	f.Add(whole[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		of, s, err := decode(fixSum(b), boot)
		if err != nil {
			return
		}
		size, _ := of.Key.Size()
		sum := int64(0)
		for _, p := range s.From {
			sum += p.Ranges.Sum()
			for _, i := range p.Ranges {
				if i.Off < 0 || i.End > size || !s.Have.Has(i) || p.Exact != s.Exact.Has(i) {
					t.Fatalf("%+v of %d bytes", s, size)
				}
			}
		}
		if sum != s.Have.Sum() {
			t.Fatalf("%+v: a byte has two senders", s)
		}
	})
}

// fixSum makes lengths and checksum agree with the rest, so that this is looked
// at.
func fixSum(b []byte) []byte {
	if len(b) < mapHead {
		return b
	}
	b = slices.Clone(b)
	copy(b, mapMark)
	clear(b[len(mapMark):][:16])
	binary.LittleEndian.PutUint32(b[mapHead-8:], uint32(len(b)-mapHead))
	binary.LittleEndian.PutUint32(b[mapHead-4:], mapSum(b))
	return b
}

func mustKey(t testing.TB, s string) annex.Key {
	key, err := annex.ParseKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Bytes keep the name of who sent them, and lose it when they are given back.
func TestStockKeepsProvenance(t *testing.T) {
	var s Stock
	s.Add(Interval{0, 10}, "exact", true)
	s.Add(Interval{10, 20}, "inexact", false)
	s.Add(Interval{20, 30}, "exact", true)
	if !s.Have.Has(Interval{0, 30}) || s.Exact.Has(Interval{0, 30}) || s.Exact.Sum() != 20 {
		t.Errorf("%+v", s)
	}
	s.Remove(Interval{5, 25})
	if got := s.Sources(); !slices.Equal(got, []string{"exact"}) || s.Have.Sum() != 10 || s.Exact.Sum() != 10 {
		t.Errorf("%v, %+v", got, s)
	}
	for i := range int64(2 * maxSources) { // never more than can be told apart
		s.Add(Interval{100 + i, 101 + i}, fmt.Sprint("source ", i), true)
	}
	if len(s.From) > maxSources || s.Exact.Has(Interval{100, 100 + 2*maxSources}) {
		t.Errorf("%d senders; exact %v", len(s.From), s.Exact)
	}
}
