package readplan

import "testing"

// reads drives a window as a reader would, and returns its last Plan. A read
// before the file's start stands for what is known of the reader.
func (w *Window) reads(size int64, here bool, all ...interval) (last Plan) {
	for _, i := range all {
		if w.Sure = w.Sure || i.Off < 0; i.Off >= 0 {
			last = w.Read(i, size, here)
		}
	}
	return last
}

func span(off, end int64) interval { return interval{Off: off, End: end} }

func sequence(from, step, n int64) (all []interval) {
	for k := range n {
		all = append(all, span(from+k*step, from+(k+1)*step))
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
		want  Plan
	}{
		{"small files whole", m, false, sequence(5, 10, 1), Plan{Now: span(0, m), Until: m, Steady: true}},
		{"a header of a middling file", 4 * m, false, sequence(0, 16*k, 1), Plan{Now: span(0, 80*k), Until: 80 * k}},
		{"a header of a large file", g, false, sequence(0, 16*k, 1), Plan{Now: span(0, 256*k), Until: 256 * k}},
		{"the header in the kernel's steps", 4 * m, false, []interval{span(0, 16*k), span(16*k, 80*k)}, Plan{Now: span(0, 80*k), Until: 80 * k}},
		{"read on, a middling file", 4 * m, false, []interval{span(0, 16*k), span(16*k, 48*k), span(48*k, 112*k)}, Plan{Now: span(48*k, 4*m), Until: 4 * m, Steady: true}},
		{"read on, a large file", g, false, sequence(0, 128*k, 2), Plan{Now: span(128*k, 640*k), Until: 256*k + m, Steady: true}},
		{"the window grows", g, false, sequence(0, 128*k, 7), Plan{Now: span(768*k, 768*k+512*k), Until: 896*k + 4*m, Steady: true}},
		{"and has an end", g, false, sequence(0, m, 20), Plan{Now: span(19*m, 27*m), Until: 79 * m, Steady: true}},
		{"a few steps back and forth are still in sequence", g, false, []interval{span(0, 128*k), span(256*k, 384*k), span(128*k, 256*k)}, Plan{Now: span(128*k, 640*k), Until: 384*k + m, Steady: true}},
		{"here and there", g, false, []interval{span(500*m, 500*m+4096), span(300*m+1, 300*m+4097)}, Plan{Now: span(300*m, 300*m+256*k), Until: 300*m + 256*k}},
		{"known to be read through", 4 * m, false, []interval{span(-1, 0), span(0, 16*k)}, Plan{Now: span(0, 4*m), Until: 4 * m, Steady: true}},
		{"known to be read through, but read at its end first", g, false, []interval{span(-1, 0), span(g-4096, g)}, Plan{Now: span(g-64*k, g), Until: g}},
		{"much read, all wanted", 40 * m, false, sequence(0, m, 11), Plan{Now: span(10*m, 12*m), Until: 22 * m, Steady: true, Complete: true}},
		{"often here and there", 60 * m, false, jumps(16), Plan{Now: span(16*3*m, 16*3*m+256*k), Until: 16*3*m + 256*k, Complete: true}},
		{"often, but where it is already", 60 * m, true, jumps(16), Plan{Now: span(16*3*m, 16*3*m+256*k), Until: 16*3*m + 256*k}},
	} {
		w := Window{}
		if got := w.reads(c.size, c.here, c.reads...); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func jumps(n int64) (all []interval) {
	for k := n; k > 0; k-- {
		off := (n + 1 - k) * 3 << 20
		all = append(all, span(off, off+4096))
	}
	return all
}
