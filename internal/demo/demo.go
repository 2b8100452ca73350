package demo

import (
	"path/filepath"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// image is an image that the demo dataset has.
const image = "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"

// Dataset returns the demo's dataset, without remotes: two subjects with
// two sessions each, a few hundred kB in all.
func Dataset() maker.Dataset {
	d := maker.BIDS(maker.BIDSOptions{Name: "uniharmonyfs-demo", Subjects: 2, Sessions: 2, Tasks: []string{"rest", "tapping"}})
	d.Tags = []string{"1.0.0"}
	return d
}

// A Demo is the demo dataset, made and served.
type Demo struct {
	Repository string // directory of the dataset's bare git repository
	URL        string // of the server with its content
	Image      string // path in the dataset of an annexed image of subject 01
	Files      int    // in the dataset
	Annexed    int    // of them
	Bytes      int64  // of the annexed ones

	server *publisher.Server
	made   *maker.Made
}

// Start makes the demo dataset below dir and serves it until Close.
func Start(dir string) (*Demo, error) {
	s, err := publisher.New(publisher.Options{})
	if err != nil {
		return nil, err
	}
	d := Dataset()
	d.Remotes = []maker.Remote{{Name: "s3-PUBLIC", Kind: maker.Versioned, URL: s.URL + "/openneuro.org"}}
	m, err := maker.Make(filepath.Join(dir, d.Name), d)
	if err != nil {
		s.Close()
		return nil, err
	}
	s.Add(m)
	return &Demo{
		Repository: m.Dir, URL: s.URL, Image: image,
		Files: len(m.Files), Annexed: m.Annexed(), Bytes: m.Bytes(), server: s, made: m,
	}, nil
}

// Close ends the server. The repository stays.
func (d *Demo) Close() error { return d.server.Close() }
