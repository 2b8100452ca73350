package fetch

import (
	"maps"
	"regexp"
	"slices"

	"github.com/go-git/go-git/v5/config"
)

// pastable are URLs that can be put into a command line as they are.
var pastable = regexp.MustCompile(`^https?://[\w.~:/@%+-]+$`)

// SubdatasetURL returns where a .gitmodules file says that some subdataset is, one
// of those at paths: the first that has a URL of its own, one that means the same
// everywhere and is harmless to paste. Without any it is empty.
func SubdatasetURL(gitmodules []byte, paths []string) string {
	modules := config.NewModules()
	if modules.Unmarshal(gitmodules) != nil {
		return ""
	}
	urls := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(modules.Submodules)) {
		if m := modules.Submodules[name]; urls[m.Path] == "" && pastable.MatchString(m.URL) {
			urls[m.Path] = m.URL
		}
	}
	for _, path := range paths {
		if url := urls[path]; url != "" {
			return url
		}
	}
	return ""
}
