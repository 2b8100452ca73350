package layout

import (
	"path"
	"sort"
	"strings"
)

// FileAt finds the file of a path, or the opaque directory.
func (l *Layout) FileAt(p string) (int32, bool) {
	i, found := l.PathAt(p)
	if found {
		return i, true
	}
	if !l.GoesOn(i, p) {
		return 0, false
	}
	// An opaque directory's paths go on with "/".
	if i, _ = l.PathAt(p + "/"); i < int32(len(l.Files)) && l.Files[i].Opaque && l.PathOf(i) == p {
		return i, true
	}
	return 0, false
}

// PathAt returns the first file whose (first) path is not before p, and
// whether it is p.
func (l *Layout) PathAt(p string) (int32, bool) {
	i, found := sort.Find(len(l.Files), func(i int) int { return strings.Compare(p, l.path(int(l.Files[i].First))) })
	return int32(i), found
}

// GoesOn reports whether the path of file i begins with p: when the first path
// that is not before p does not, none does.
func (l *Layout) GoesOn(i int32, p string) bool {
	return i < int32(len(l.Files)) && strings.HasPrefix(l.path(int(l.Files[i].First)), p)
}

// FilesBelow returns the range of files below a directory.
func (l *Layout) FilesBelow(p string) (first, end int32) {
	first, _ = l.PathAt(p + "/")
	end, _ = l.PathAt(p + "0") // the byte after "/"
	return first, end
}

// References returns the paths that a BIDS path or URI in file i can mean, the
// likeliest first; none when it is in another dataset.
func (l *Layout) References(ref string, i int32) []string {
	d := &l.Dirs[l.Files[i].Dir]
	top := l.Dirs[d.Root].Path
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
	sub := l.SubjectDir(l.Files[i].Dir)
	return []string{path.Join(l.Dirs[sub].Path, ref), fromTop}
}

// SubjectDir returns the directory sub-X that d is in, or d's root.
func (l *Layout) SubjectDir(d int32) int32 {
	for d > 0 && l.Dirs[d].Place == Subject && l.Dirs[d].Parent != l.Dirs[d].Root {
		d = l.Dirs[d].Parent
	}
	return d
}
