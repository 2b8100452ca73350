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
// whose path is there: the first by name that has a URL of its own, one that means
// the same everywhere and is harmless to paste. Without any it is empty.
func SubdatasetURL(gitmodules []byte, isThere func(path string) bool) string {
	modules := config.NewModules()
	if modules.Unmarshal(gitmodules) != nil {
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(modules.Submodules)) {
		if m := modules.Submodules[name]; pastable.MatchString(m.URL) && isThere(m.Path) {
			return m.URL
		}
	}
	return ""
}
