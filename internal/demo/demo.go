package demo

import "path/filepath"

// A Demo is the demo dataset, made and served.
type Demo struct {
	Repository string // directory of the dataset's bare git repository
	URL        string // of the server with its content
	Image      string // path in the dataset of an annexed image of subject 01
	Files      int    // in the dataset
	Annexed    int    // of them
	Bytes      int64  // of the annexed ones

	server *Server
	made   *Made
}

// Start makes the demo dataset below dir and serves it until Close.
func Start(dir string) (*Demo, error) {
	s, err := NewServer(ServerOptions{})
	if err != nil {
		return nil, err
	}
	d := DemoDataset()
	d.Remotes = []Remote{{Name: "s3-PUBLIC", Kind: Versioned, URL: s.URL + "/openneuro.org"}}
	m, err := Make(filepath.Join(dir, d.Name), d)
	if err != nil {
		s.Close()
		return nil, err
	}
	s.Add(m)
	return &Demo{
		Repository: m.Dir, URL: s.URL, Image: demoImage,
		Files: len(m.Files), Annexed: m.Annexed(), Bytes: m.Bytes(), server: s, made: m,
	}, nil
}

// Close ends the server. The repository stays.
func (d *Demo) Close() error { return d.server.Close() }
