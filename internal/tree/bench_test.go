package tree

import (
	"crypto/sha256"
	"fmt"
	"runtime"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// million builds a tree of 20,000 directories with 50 files each, named as
// BIDS names them.
func million(tb testing.TB) *Tree {
	b := NewBuilder()
	const subjects, sessions, files = 2000, 10, 50
	var root []Entry
	for i := range subjects {
		root = append(root, Entry{Name: fmt.Sprintf("sub-%05d", i)})
	}
	must(tb, b.AddDir("", root))
	n := uint64(0)
	for _, sub := range root {
		var ses []Entry
		for j := range sessions {
			ses = append(ses, Entry{Name: fmt.Sprintf("ses-%02d", j)})
		}
		must(tb, b.AddDir(sub.Name, ses))
		for _, s := range ses {
			entries := make([]Entry, files)
			for k := range entries {
				n++
				sum := sha256.Sum256(fmt.Append(nil, n))
				key, err := annex.ParseKey(fmt.Sprintf("SHA256E-s%d--%x.nii.gz", n, sum))
				must(tb, err)
				entries[k] = Entry{fmt.Sprintf("%s_%s_run-%02d_bold.nii.gz", sub.Name, s.Name, k), Annexed, int64(n), key, ""}
			}
			must(tb, b.AddDir(sub.Name+"/"+s.Name, entries))
		}
	}
	s, err := b.Tree()
	must(tb, err)
	return s
}

// BenchmarkMemory reports what a file costs, in a tree and its full view.
func BenchmarkMemory(b *testing.B) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for range b.N {
		before := heap()
		s := million(b)
		snap := heap()
		var files []int
		for n := range s.Len() {
			if s.Kind(n) != Dir {
				files = append(files, n)
			}
		}
		v := s.View(files, nil)
		files = nil
		view := heap()
		b.ReportMetric(float64(snap-before)/float64(s.Files()), "bytes/file")
		b.ReportMetric(float64(view-snap)/float64(s.Files()), "viewbytes/file")
		runtime.KeepAlive(v)
	}
}

func BenchmarkLoad(b *testing.B) {
	s := million(b)
	type value struct {
		path string
		data []byte
	}
	var values []value
	total := 0
	for n := range s.Len() {
		if s.Kind(n) == Dir {
			v := value{s.Path(n), s.EncodeDir(n)}
			values = append(values, v)
			total += len(v.data)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		nb := NewBuilder()
		for _, v := range values {
			must(b, nb.AddEncoded(v.path, v.data))
		}
		_, err := nb.Tree()
		must(b, err)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(s.Files()), "ns/file")
	b.ReportMetric(float64(total)/float64(s.Files()), "storedbytes/file")
}

func BenchmarkLookup(b *testing.B) {
	s := million(b)
	dir, _ := s.Find("sub-01000/ses-05")
	for b.Loop() {
		if _, ok := s.Lookup(dir, "sub-01000_ses-05_run-33_bold.nii.gz"); !ok {
			b.Fatal("not found")
		}
	}
}
