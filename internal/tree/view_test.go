package tree

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestViewIsAFilter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		s, err := m.build(m.paths())
		if err != nil {
			t.Fatal(err)
		}
		want := map[int]bool{0: true}
		var files []int
		var bytes int64
		count := 0
		replaced := map[int][]byte{}
		for n := range s.Len() {
			if !rapid.Bool().Draw(t, "shown") {
				continue
			}
			files = append(files, n)
			for d := n; d != 0; d = s.Parent(d) {
				want[d] = true
			}
			if s.Kind(n) == Dir { // shown, also when it is empty
				continue
			}
			count++
			size := s.Size(n)
			if s.Kind(n) != Link && rapid.Bool().Draw(t, "replaced") {
				replaced[n] = []byte("other")
				size = 5
			}
			bytes += size
		}
		v := s.View(files, replaced)
		if v.Files() != count || v.Bytes() != bytes || v.Tree() != s {
			t.Fatalf("%d files, %d bytes; want %d, %d", v.Files(), v.Bytes(), count, bytes)
		}
		for n := range s.Len() {
			if v.Shown(n) != want[n] {
				t.Fatalf("%q shown: %v", s.Path(n), v.Shown(n))
			}
			if _, ok := v.Find(s.Path(n)); ok != want[n] {
				t.Fatalf("%q found: %v", s.Path(n), ok)
			}
			if c, ok := v.Content(n); ok != (replaced[n] != nil) || ok && v.Size(n) != int64(len(c)) {
				t.Fatalf("%q: content %q %v, size %d", s.Path(n), c, ok, v.Size(n))
			}
			var got, children []int
			for i := 0; ; i++ {
				c, ok := v.Entry(n, i)
				if !ok {
					break
				}
				got = append(got, c)
			}
			first, count := s.Children(n)
			for c := first; c < first+count; c++ {
				if want[c] {
					children = append(children, c)
				}
			}
			if want[n] && !slices.Equal(got, children) {
				t.Fatalf("%q lists %v, want %v", s.Path(n), got, children)
			}
		}
		for _, n := range []int{-1, s.Len(), 1 << 40} {
			if v.Shown(n) {
				t.Fatalf("node %d is shown", n)
			}
		}
	})
}
