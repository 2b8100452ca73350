package bids

import (
	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// stepsOfFind are the steps in which a path is found.
const stepsOfFind = 100

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
	d := sel.SubjectDir(sel.Files[i].Dir)
	s := sel.subjects[d]
	if s == nil {
		s = new(subjectLinks)
		s.first, s.end = sel.FilesBelow(sel.Dirs[d].Path)
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
		f := sel.Files[g]
		if !schema.IsNIfTI(sel.Words.Text[f.Ext]) {
			continue
		}
		switch m := sel.Words.Text[sel.Dirs[f.Dir].Datatype]; m {
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
		f := sel.Files[g]
		if schema.IsNIfTI(sel.Words.Text[f.Ext]) && schema.IsMRI(sel.Words.Text[sel.Dirs[f.Dir].Datatype]) {
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
