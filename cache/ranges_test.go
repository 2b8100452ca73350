package cache

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The set agrees with a plain list of bytes, and with itself after a round trip.
func TestRangesAgreeWithBytes(t *testing.T) {
	const size = 200
	rapid.Check(t, func(t *rapid.T) {
		var r ranges
		var model [size]bool
		draw := func() interval {
			a, b := rapid.Int64Range(0, size).Draw(t, "a"), rapid.Int64Range(0, size).Draw(t, "b")
			return interval{min(a, b), max(a, b)}
		}
		for range rapid.IntRange(0, 20).Draw(t, "n") {
			i := draw()
			r.add(i)
			for k := i.off; k < i.end; k++ {
				model[k] = true
			}
		}
		sum := int64(0)
		for k, in := range model {
			if in {
				sum++
			}
			if r.has(interval{int64(k), int64(k + 1)}) != in {
				t.Fatalf("byte %d in %v: want %v", k, r, in)
			}
		}
		prefix := int64(slices.Index(append(model[:], false), false))
		if r.sum() != sum || r.prefix() != prefix {
			t.Fatalf("%v: sum %d, want %d; prefix %d, want %d", r, r.sum(), sum, r.prefix(), prefix)
		}
		i := draw()
		gap := i
		for gap.off < gap.end && model[gap.off] {
			gap.off++
		}
		for k := gap.off; k < gap.end; k++ {
			if model[k] {
				gap.end = k
			}
		}
		if got := r.gap(i); got.len() != gap.len() || gap.len() > 0 && got != gap {
			t.Fatalf("%v: gap in %v is %v, want %v", r, i, got, gap)
		}
		for k := 1; k < len(r); k++ {
			if r[k].off <= r[k-1].end {
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
			if i.off <= last || i.len() <= 0 || i.end > size {
				t.Fatalf("%v of %d bytes", r, size)
			}
			last = i.end
		}
	})
}

// reads drives a window as a reader would, and returns its last wish. A read
// before the file's start stands for what is known of the reader.
func (w *window) reads(size int64, here bool, all ...interval) (last wish) {
	for _, i := range all {
		if w.sure = w.sure || i.off < 0; i.off >= 0 {
			last = w.read(i, size, here)
		}
	}
	return last
}

func sequence(from, step, n int64) (all []interval) {
	for k := range n {
		all = append(all, interval{from + k*step, from + (k+1)*step})
	}
	return all
}

func TestWindow(t *testing.T) {
	const k, m, g = int64(1) << 10, int64(1) << 20, int64(1) << 30
	for _, c := range []struct {
		name  string
		size  int64
		here  bool
		reads []interval
		want  wish
	}{
		{"small files whole", m, false, sequence(5, 10, 1), wish{now: interval{0, m}, until: m, steady: true}},
		{"a header of a middling file", 4 * m, false, sequence(0, 16*k, 1), wish{now: interval{0, 80 * k}, until: 80 * k}},
		{"a header of a large file", g, false, sequence(0, 16*k, 1), wish{now: interval{0, 256 * k}, until: 256 * k}},
		{"the header in the kernel's steps", 4 * m, false, []interval{{0, 16 * k}, {16 * k, 80 * k}}, wish{now: interval{0, 80 * k}, until: 80 * k}},
		{"read on, a middling file", 4 * m, false, []interval{{0, 16 * k}, {16 * k, 48 * k}, {48 * k, 112 * k}}, wish{now: interval{48 * k, 4 * m}, until: 4 * m, steady: true}},
		{"read on, a large file", g, false, sequence(0, 128*k, 2), wish{now: interval{128 * k, 640 * k}, until: 256*k + m, steady: true}},
		{"the window grows", g, false, sequence(0, 128*k, 7), wish{now: interval{768 * k, 768*k + 512*k}, until: 896*k + 4*m, steady: true}},
		{"and has an end", g, false, sequence(0, m, 20), wish{now: interval{19 * m, 27 * m}, until: 79 * m, steady: true}},
		{"a few steps back and forth are still in sequence", g, false, []interval{{0, 128 * k}, {256 * k, 384 * k}, {128 * k, 256 * k}}, wish{now: interval{128 * k, 640 * k}, until: 384*k + m, steady: true}},
		{"here and there", g, false, []interval{{500 * m, 500*m + 4096}, {300*m + 1, 300*m + 4097}}, wish{now: interval{300 * m, 300*m + 256*k}, until: 300*m + 256*k}},
		{"known to be read through", 4 * m, false, []interval{{-1, 0}, {0, 16 * k}}, wish{now: interval{0, 4 * m}, until: 4 * m, steady: true}},
		{"known to be read through, but read at its end first", g, false, []interval{{-1, 0}, {g - 4096, g}}, wish{now: interval{g - 64*k, g}, until: g}},
		{"much read, all wanted", 40 * m, false, sequence(0, m, 11), wish{now: interval{10 * m, 12 * m}, until: 22 * m, steady: true, complete: true}},
		{"often here and there", 60 * m, false, jumps(16), wish{now: interval{16 * 3 * m, 16*3*m + 256*k}, until: 16*3*m + 256*k, complete: true}},
		{"often, but where it is already", 60 * m, true, jumps(16), wish{now: interval{16 * 3 * m, 16*3*m + 256*k}, until: 16*3*m + 256*k}},
	} {
		w := window{}
		if got := w.reads(c.size, c.here, c.reads...); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func jumps(n int64) (all []interval) {
	for k := n; k > 0; k-- {
		off := (n + 1 - k) * 3 << 20
		all = append(all, interval{off, off + 4096})
	}
	return all
}
