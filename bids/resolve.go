package bids

import (
	"path"
	"sort"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// stepsOfFind are the steps in which a path is found.
const stepsOfFind = 100

// fileAt finds the file or recording of a path.
func (c *Catalog) fileAt(p string) (int32, bool) {
	i, found := c.pathAt(p)
	if found {
		return i, true
	}
	if !c.goesOn(i, p) {
		return 0, false
	}
	// A recording's paths go on with "/".
	if i, _ = c.pathAt(p + "/"); i < int32(len(c.files)) && c.files[i].recording && c.pathOf(i) == p {
		return i, true
	}
	return 0, false
}

// pathAt returns the first file whose (first) path is not before p, and
// whether it is p.
func (c *Catalog) pathAt(p string) (int32, bool) {
	i, found := sort.Find(len(c.files), func(i int) int { return strings.Compare(p, c.path(int(c.files[i].first))) })
	return int32(i), found
}

// goesOn reports whether the path of file i begins with p: when the first path
// that is not before p does not, none does.
func (c *Catalog) goesOn(i int32, p string) bool {
	return i < int32(len(c.files)) && strings.HasPrefix(c.path(int(c.files[i].first)), p)
}

// filesBelow returns the range of files below a directory.
func (c *Catalog) filesBelow(p string) (first, end int32) {
	first, _ = c.pathAt(p + "/")
	end, _ = c.pathAt(p + "0") // the byte after "/"
	return first, end
}

// reference is what a BIDS path or URI names: a path in the dataset, ok false
// when it is in another dataset.
func (c *Catalog) references(ref string, i int32) []string {
	d := &c.dirs[c.files[i].dir]
	top := c.dirs[d.root].path
	if uri, isURI := strings.CutPrefix(ref, "bids:"); isURI {
		name, p, _ := strings.Cut(uri, ":")
		if name != "" {
			return nil
		}
		return []string{path.Join(top, p)}
	}
	ref = strings.TrimPrefix(ref, "/")
	fromTop := path.Join(top, ref)
	if strings.HasPrefix(ref, "sub-") {
		return []string{fromTop}
	}
	sub := c.subjectDir(c.files[i].dir)
	return []string{path.Join(c.dirs[sub].path, ref), fromTop}
}

// resolve finds the file that a reference in a sidecar of file i names.
func (c *Catalog) resolve(ref string, i int32) (int32, bool) {
	for _, p := range c.references(ref, i) {
		if g, ok := c.fileAt(p); ok {
			return g, true
		}
	}
	return 0, false
}

// subjectDir returns the directory sub-X that d is in, or d's root.
func (c *Catalog) subjectDir(d int32) int32 {
	for d > 0 && c.dirs[d].place == subject && c.dirs[d].parent != c.dirs[d].root {
		d = c.dirs[d].parent
	}
	return d
}

// subjectLinks are the links within one subject, by what they name.
type subjectLinks struct {
	first, end int32 // its files
	intended   map[int32][]int32
	b0         map[string][]int32
	maps       []fieldMap
}

// fieldMap is an image of the datatypes fmap and perf.
type fieldMap struct {
	file     int32
	fieldmap bool // of the datatype fmap
	unknown  bool // its sidecars cannot be read
}

func (sel *selector) subjectOf(i int32) *subjectLinks {
	d := sel.subjectDir(sel.files[i].dir)
	s := sel.subjects[d]
	if s == nil {
		s = new(subjectLinks)
		s.first, s.end = sel.filesBelow(sel.dirs[d].path)
		sel.subjects[d] = s
	}
	return s
}

// namedBy returns, by file, the fieldmaps and M0 scans whose IntendedFor names
// it.
func (s *subjectLinks) namedBy(sel *selector) map[int32][]int32 {
	if s.intended != nil {
		return s.intended
	}
	s.intended = make(map[int32][]int32)
	for g := s.first; g < s.end && sel.more(1); g++ {
		f := sel.files[g]
		if !schema.IsNIfTI(sel.words.text[f.ext]) {
			continue
		}
		switch m := sel.words.text[sel.dirs[f.dir].modality]; m {
		case "fmap", "perf":
			l := sel.merged(g)
			s.maps = append(s.maps, fieldMap{g, m == "fmap", l.unknown})
			for _, ref := range l.IntendedFor {
				if !sel.more(stepsOfFind) {
					break
				}
				if target, ok := sel.resolve(ref, g); ok {
					s.intended[target] = append(s.intended[target], g)
				}
			}
		}
	}
	return s.intended
}

// fields returns, by identifier, the files that a B0 field is estimated from.
func (s *subjectLinks) fields(sel *selector) map[string][]int32 {
	if s.b0 != nil {
		return s.b0
	}
	s.b0 = make(map[string][]int32)
	for g := s.first; g < s.end && sel.more(1); g++ {
		f := sel.files[g]
		if schema.IsNIfTI(sel.words.text[f.ext]) && schema.IsMRI(sel.words.text[sel.dirs[f.dir].modality]) {
			for _, id := range sel.merged(g).B0FieldIdentifier {
				if !sel.more(1) {
					break
				}
				s.b0[id] = append(s.b0[id], g)
			}
		}
	}
	return s.b0
}
