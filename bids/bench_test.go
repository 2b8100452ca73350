package bids

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// large makes the names of a dataset of n files in the manner of ds004712:
// subjects, sessions, and directories of about 160 files.
func large(n int) (paths []string) {
	for sub := 0; len(paths) < n; sub++ {
		for ses := range 10 {
			dir := fmt.Sprintf("sub-%05d/ses-%02d/", sub, ses)
			stem := fmt.Sprintf("sub-%05d_ses-%02d", sub, ses)
			for coil := range 16 {
				for echo := range 5 {
					for _, ext := range []string{"nii.gz", "json"} {
						paths = append(paths, fmt.Sprintf("%sswi/%s_echo-%d_coil-%02d_part-phase_GRE.%s", dir, stem, echo, coil, ext))
					}
				}
			}
			for _, ext := range []string{"nii.gz", "json"} {
				paths = append(paths, dir+"anat/"+stem+"_T1w."+ext, dir+"func/"+stem+"_task-rest_bold."+ext)
			}
		}
	}
	paths = paths[:n]
	slices.Sort(paths)
	return paths
}

// TestCatalogIsSmall: a million files take at most 100 bytes each.
func TestCatalogIsSmall(t *testing.T) {
	const n = 200_000
	paths := large(n)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	c := NewCatalog(n, func(i int) string { return paths[i] }, nil)
	each := float64(heap()-before) / n
	t.Logf("%.1f bytes a file", each)
	if each > 100 {
		t.Errorf("%.1f bytes a file, want at most 100", each)
	}
	runtime.KeepAlive(c)
}

func BenchmarkCatalog(b *testing.B) {
	paths := large(30_000)
	for b.Loop() {
		NewCatalog(len(paths), func(i int) string { return paths[i] }, nil)
	}
}

func BenchmarkSelect(b *testing.B) {
	paths := large(30_000)
	c := NewCatalog(len(paths), func(i int) string { return paths[i] }, nil)
	for _, query := range []string{"", "sub=00003", "modality=swi", "suffix=bold ext=.nii.gz"} {
		b.Run(query, func(b *testing.B) {
			s := parse(b, query)
			for b.Loop() {
				if _, err := c.selectAlone(s, func(int) ([]byte, error) { return []byte("{}"), nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOneDirectory has a directory of very many files with sidecars.
func BenchmarkOneDirectory(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var paths []string
			for i := range n {
				paths = append(paths, fmt.Sprintf("sub-1/micr/sub-1_sample-%05d_SEM.json", i), fmt.Sprintf("sub-1/micr/sub-1_sample-%05d_SEM.png", i))
			}
			c := NewCatalog(len(paths), func(i int) string { return paths[i] }, nil)
			for b.Loop() {
				if _, err := c.selectAlone(parse(b, "ext=.png"), nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMillion parses and selects in a dataset of a million files.
func BenchmarkMillion(b *testing.B) {
	paths := large(1_000_000)
	path := func(i int) string { return paths[i] }
	read := func(i int) ([]byte, error) { return []byte(`{"B0FieldSource": "pepolar"}`), nil }
	b.Run("catalog", func(b *testing.B) {
		for b.Loop() {
			NewCatalog(len(paths), path, nil)
		}
	})
	c := NewCatalog(len(paths), path, nil)
	for _, query := range []string{"", "sub=00003", "modality=func", "modality=swi", "echo=1 ext=.nii.gz"} {
		b.Run(query, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.selectAlone(parse(b, query), read); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkColumns asks for conditions and facets of a dataset with a table in
// each session.
func BenchmarkColumns(b *testing.B) {
	paths := large(200_000)
	var tables []string
	seen := make(map[string]bool)
	for _, p := range paths {
		if dir := p[:len("sub-00000/ses-00/")]; !seen[dir] {
			seen[dir] = true
			tables = append(tables, dir+dir[:9]+"_"+dir[10:16]+"_scans.tsv")
		}
	}
	paths = append(paths, append(tables, "participants.tsv")...)
	slices.Sort(paths)
	participants := "participant_id\tage\n"
	for sub := range 200 {
		participants += fmt.Sprintf("sub-%05d\t%d\n", sub, sub)
	}
	c := NewCatalog(len(paths), func(i int) string { return paths[i] }, nil)
	read := func(i int) ([]byte, error) {
		switch p := paths[i]; {
		case p == "participants.tsv":
			return []byte(participants), nil
		case strings.HasSuffix(p, "_scans.tsv"):
			sub, ses := p[:9], p[10:16]
			return fmt.Appendf(nil, "filename\tacq_time\nfunc/%s_%s_task-rest_bold.nii.gz\t1901-01-01T10:00:00\nanat/%s_%s_T1w.nii.gz\t1901-01-01T10:10:00\n", sub, ses, sub, ses), nil
		}
		return []byte(`{"RepetitionTime": 2}`), nil
	}
	b.Run("where", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.selectAlone(Selection{Where: "age > 30"}, read); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("facets", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Facets(Selection{}, read, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
