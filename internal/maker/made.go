package maker

import (
	"net/url"
	"time"
)

// Find returns the file of the last commit that has the path, or nil.
func (m *Made) Find(path string) *MadeFile {
	for i := range m.Files {
		if m.Files[i].Path == path {
			return &m.Files[i]
		}
	}
	return nil
}

// Commit returns the id of the last commit.
func (m *Made) Commit() string { return m.Commits[len(m.Commits)-1] }

// Annexed returns how many files of the last commit are annexed.
func (m *Made) Annexed() int {
	n := 0
	for i := range m.Files {
		if m.Files[i].Annexed {
			n++
		}
	}
	return n
}

// Bytes returns the size of the annexed files of the last commit.
func (m *Made) Bytes() int64 {
	var n int64
	for i := range m.Files {
		if m.Files[i].Annexed {
			n += m.Files[i].Content.Size()
		}
	}
	return n
}

// UUID returns a remote's UUID.
func (m *Made) UUID(r *Remote) string {
	if r.Kind == Web {
		return webUUID
	}
	return uuid(m.Dataset.Name, "remote", r.Name)
}

func (m *Made) originUUID() string { return uuid(m.Dataset.Name, "origin") }

// VersionID returns the version S3 gave to the file's content.
func (m *Made) VersionID(r *Remote, f *MadeFile) string {
	return token(m.Dataset.Name, r.Name, f.Path, f.Key.String())
}

// URLs returns where the file's content is published, with the version where
// the remote keeps versions, in the order of the dataset's remotes.
func (m *Made) URLs(f *MadeFile) []string {
	var urls []string
	for i := range m.Dataset.Remotes {
		r := &m.Dataset.Remotes[i]
		if !r.Holds(&f.File) {
			continue
		}
		u := r.objectURL(m.Dataset.Name, f.Path)
		if r.Kind == Versioned {
			u += "?versionId=" + url.QueryEscape(m.VersionID(r, f))
		}
		urls = append(urls, u)
	}
	return urls
}

// CommitTime returns the time of the i-th commit.
func (m *Made) CommitTime(i int) time.Time {
	return m.Dataset.time().Add(time.Duration(i+1-len(m.Versions)) * 24 * time.Hour)
}
