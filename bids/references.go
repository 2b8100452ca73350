package bids

import (
	"encoding/json"
	"path"
	"strings"
)

// references returns the paths that a BIDS path or URI in file i can mean, the
// likeliest first. A URI that names another dataset (bids:NAME:PATH) means one of the
// paths here when the file's own dataset says that NAME lies here: by DatasetLinks in
// its dataset_description.json (specification, "BIDS URI").
func (sel *selector) references(ref string, i int32) []string {
	uri, isURI := strings.CutPrefix(ref, "bids:")
	name, p, _ := strings.Cut(uri, ":")
	if !isURI || name == "" {
		return sel.References(ref, i)
	}
	root := sel.Dirs[sel.Files[i].Dir].Root
	link, ok := sel.datasetLinks(root)[name]
	if !ok || strings.Contains(link, ":") || strings.HasPrefix(link, "/") { // of elsewhere
		return nil
	}
	at := path.Join(sel.Dirs[root].Path, link)
	if at == ".." || strings.HasPrefix(at, "../") {
		return nil
	}
	if at = path.Join(at, p); at == ".." || strings.HasPrefix(at, "../") {
		return nil
	}
	return []string{at}
}

// resolve finds the file that a reference in a sidecar of file i names.
func (sel *selector) resolve(ref string, i int32) (int32, bool) {
	for _, p := range sel.references(ref, i) {
		if g, ok := sel.FileAt(p); ok {
			return g, true
		}
	}
	return 0, false
}

// datasetLinks returns what a dataset calls others, by its root directory.
func (sel *selector) datasetLinks(root int32) map[string]string {
	if links, ok := sel.datasets[root]; ok {
		return links
	}
	var description struct{ DatasetLinks map[string]string }
	if i, ok := sel.FileAt(path.Join(sel.Dirs[root].Path, "dataset_description.json")); ok {
		if data, ok := sel.content(i); ok && json.Unmarshal(data, &description) != nil {
			description.DatasetLinks = nil
		}
	}
	sel.datasets[root] = description.DatasetLinks
	return description.DatasetLinks
}
