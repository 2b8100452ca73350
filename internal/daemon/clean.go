package daemon

import (
	"os"
	"slices"
	"strings"
)

// hiddenClones names the clones in the cache, in byte order.
func (d *daemon) hiddenClones() (names []string) {
	entries, _ := os.ReadDir(d.dir.datasets())
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

// matchClones finds a clone by its whole name, or by the part that a person
// would give: "ds004712" for "ds004712-1f2e3d4c".
func matchClones(have []string, want string) (found []string) {
	if slices.Contains(have, want) {
		return []string{want}
	}
	for _, name := range have {
		if i := strings.LastIndexByte(name, '-'); i > 0 && name[:i] == want {
			found = append(found, name)
		}
	}
	return found
}

// removeDataset closes and deletes a hidden clone.
func (d *daemon) removeDataset(name string) error {
	d.mu.Lock()
	ds := d.datasets[name]
	delete(d.datasets, name)
	d.mu.Unlock()
	if ds != nil {
		ds.open.Lock()
		defer ds.open.Unlock()
		if err := ds.close(); err != nil {
			d.log.Warn("closing a dataset", "name", name, "err", err)
		}
	}
	return removeTree(d.cloneDir(name))
}

func (d *daemon) unpinAll() error { return d.cache.Unpin(d.cache.Pins()) }
