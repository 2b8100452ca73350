package maker

import (
	"strings"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// A Dataset is what [Make] makes: a git repository with git-annex content.
type Dataset struct {
	Name    string // of the repository, and the prefix of its objects on a remote
	Files   []File // in any order
	Remotes []Remote
	Earlier []Version // the commits before the last, oldest first
	Tags    []string  // of the last commit
	Time    time.Time // of the last commit; earlier ones are a day apart. Zero: 1 January 2024

	// WorkTree makes a repository with a work tree (of links that lead
	// nowhere unless Present) instead of a bare one.
	WorkTree bool
	// Present puts the annexed content into the repository itself.
	Present bool
}

// A Version is an earlier commit of a dataset.
type Version struct {
	Tag   string // may be empty
	Files []File
}

// A File is one path of a dataset. The zero File with a path is an empty file
// in git.
type File struct {
	Path string // relative, slash-separated
	Data []byte // the content; nil means Size bytes that depend on Seed
	Size int64
	Seed uint64
	// Image makes the content of Size and Seed an uncompressed gzip member
	// with a valid NIfTI-1 image of that very size (for .nii.gz files).
	Image bool
	// Volumes is the length of the image's fourth dimension; 0 means none.
	Volumes int

	Annexed  bool
	Unlocked bool   // annexed, as a pointer file instead of a symbolic link
	Backend  string // "" means SHA256E
	// Key says that this key, true or not, names the content.
	Key annex.Key
	// Remotes names the remotes that hold the content; nil means all.
	Remotes []string
	// Link makes a plain symbolic link with this target, outside git-annex.
	Link string
	// Commit makes the path a subdataset at a commit (hexadecimal) of another
	// repository. Where that is the file .gitmodules says, which is not made.
	Commit string
}

// Kind says how a remote publishes content.
type Kind int

// The kinds of remotes.
const (
	// Versioned is an S3 bucket with a tree exported to it that keeps every
	// version of an object: versionId names one. OpenNeuro's way.
	Versioned Kind = iota
	// Export is such a bucket without versions: an object's newest content
	// is all there is.
	Export
	// Web has a URL registered with every key.
	Web
)

// A Remote is where content of a dataset is published.
type Remote struct {
	Name string // as in uuid.log; unused for Web
	Kind Kind
	// URL is the public address of the bucket, without a slash at the end.
	// An object's URL is URL/DATASET/PATH.
	URL string
	// Config overrides settings in remote.log; an empty value removes one.
	Config map[string]string
}

// Names of the default repository.
const (
	mainBranch  = "main"
	annexBranch = "git-annex"
)

func (d *Dataset) time() time.Time {
	if d.Time.IsZero() {
		return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return d.Time.UTC()
}

// versions returns all commits of the dataset, oldest first.
func (d *Dataset) versions() []Version {
	last := Version{Files: d.Files}
	return append(append([]Version{}, d.Earlier...), last)
}

// Holds reports whether the remote has f's content.
func (r *Remote) Holds(f *File) bool {
	if !f.Annexed {
		return false
	}
	if f.Remotes == nil {
		return true
	}
	for _, name := range f.Remotes {
		if name == r.Name {
			return true
		}
	}
	return false
}

// objectURL returns the address of path, without a version.
func (r *Remote) objectURL(dataset, path string) string {
	return r.URL + "/" + escapePath(dataset+"/"+path)
}

// escapePath escapes what cannot stand in the path of a URL.
func escapePath(path string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(path) {
		c := path[i]
		if c == '/' || c == '-' || c == '_' || c == '.' || c == '~' ||
			'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
