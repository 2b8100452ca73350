package fetch

import (
	"context"
	"errors"
	"os"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/store"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// A Content is the whole content of a key that is at hand. If it lies in a repository
// of the user's, nothing is known of it but its name and size.
type Content = store.Content

// maxArchives is in how many archives a key is looked for.
const maxArchives = 4

// archives returns the archives of the dataset that are said to have a key's content.
func (r *Origin) archives(log []byte, key annex.Key) (all []Source) {
	members := annex.ParseArchiveLog(log)
	for _, m := range members[:min(len(members), maxArchives)] {
		all = append(all, r.unpacking.Source(m, key))
	}
	return all
}

// openArchive opens an archive: in place, if it lies in a repository of this machine.
func (r *Origin) openArchive(ctx context.Context, archive, forKey annex.Key) (Content, error) {
	if path := r.clone.InPlace(archive); path != "" {
		if f, err := (&fileSource{path: path, key: archive}).open(); err == nil {
			st, err := f.Stat()
			if err == nil {
				return file{f, st.Size()}, nil
			}
			f.Close()
		}
	}
	if r.o.Open == nil {
		return nil, errors.New("there is nowhere to bring it to")
	}
	return r.o.Open(ctx, archive, forKey)
}

// file is a content that is a file.
type file struct {
	*os.File
	size int64
}

func (f file) Size() int64 { return f.size }
