package fetch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
)

// manifest is the file in a hidden clone that says which commits it has, by
// the versions that were asked for.
type manifest struct {
	URL      string                  `json:"url"`
	Versions map[string]gitstore.OID `json:"versions"`
	// Asked is when they were looked up.
	Asked map[string]time.Time `json:"asked,omitempty"`
	// Annex is the dataset's ref of the git-annex branch, and Behind are the
	// versions that it has not been fetched for. Partial says that of the
	// branch only what was asked for is there.
	Annex   string         `json:"annex,omitempty"`
	Behind  []gitstore.OID `json:"behind,omitempty"`
	Partial bool           `json:"partial,omitempty"`
}

// add notes a version that was fetched. A commit that was known by another
// name has its branch, or waits for it already.
func (m *manifest) add(version string, got fetched) {
	news := !slices.Contains(slices.Collect(maps.Values(m.Versions)), got.commit)
	m.Versions[version] = got.commit
	if m.Asked == nil {
		m.Asked = make(map[string]time.Time)
	}
	m.Asked[version] = time.Now().UTC().Truncate(time.Second)
	if news && got.annex != "" {
		m.Annex, m.Behind = got.annex, append(m.Behind, got.commit)
	}
}

// isOlder reports whether a version was looked up longer ago than age; 0 is any age. A
// clock that was set back says nothing.
func (m manifest) isOlder(version string, age time.Duration) bool {
	since := time.Since(m.Asked[version])
	return age > 0 && (since > age || since < 0)
}

const manifestName = "uniharmonyfs.json"

func readManifest(dir string) (m manifest, err error) {
	raw, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return manifest{}, err
	}
	return m, m.check()
}

// check refuses a manifest that could not have been written here.
func (m manifest) check() error {
	for _, id := range slices.AppendSeq(slices.Clone(m.Behind), maps.Values(m.Versions)) {
		if !isID(string(id)) {
			return fmt.Errorf("%s: %.80q is no commit", manifestName, string(id))
		}
	}
	if m.Annex != "" && !isRef(m.Annex) {
		return fmt.Errorf("%s: %.80q is no branch", manifestName, m.Annex)
	}
	return nil
}

// ClonedFrom returns the dataset that the hidden clone at dir is of, as it can
// be named again, but without a password; "" when it is not known.
func ClonedFrom(dir string) string {
	m, err := readManifest(dir)
	if err != nil {
		return ""
	}
	if u, err := url.Parse(m.URL); err == nil && u.User != nil {
		return redact(u)
	}
	return m.URL
}

// write writes the manifest of the clone at dir. What it vouches for reaches the
// disk before it: git does not see to that for all of its files.
func (m manifest) write(dir string) error {
	raw, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := syncTree(dir); err != nil {
		return err
	}
	tmp := filepath.Join(dir, manifestName+".new")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(tmp, filepath.Join(dir, manifestName)), syncPath(dir))
}

// syncTree flushes the files and directories of a hidden clone; what lies
// behind its links is not its own.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && (e.IsDir() || e.Type().IsRegular()) {
			err = syncPath(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // git removed it meanwhile
		}
		return err
	})
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// known returns the commit of a version that the clone has. A commit that was asked
// for by its whole id is known by that only: it may be what some dataset says of its
// subdataset, and made so that a short one fits.
func (m manifest) known(version string) (gitstore.OID, bool) {
	if id, ok := m.Versions[version]; ok {
		return id, true
	}
	lower := strings.ToLower(version)
	for name, id := range m.Versions {
		if lower == string(id) || len(version) >= 7 && strings.HasPrefix(string(id), lower) && name != string(id) {
			return id, true
		}
	}
	return "", false
}

// has is known for the clone of a spec.
func (m manifest) has(spec Spec, version string) (gitstore.OID, bool) {
	id, ok := m.known(version)
	return id, ok && m.URL == spec.URL
}

// IsKnown reports whether the hidden clone at dir is of spec and has the version, so
// that it needs no network.
func IsKnown(dir string, spec Spec, version string) bool {
	m, err := readManifest(dir)
	_, has := m.has(spec, version)
	return err == nil && has
}
