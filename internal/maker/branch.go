package maker

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// webUUID is the UUID of git-annex's web remote.
const webUUID = "00000000-0000-0000-0000-000000000001"

// holding is one place where a key's content is.
type holding struct {
	file   *MadeFile
	remote *Remote
}

// addAnnexBranch writes the git-annex branch as git-annex itself would.
// https://git-annex.branchable.com/internals/
func (m *Made) addAnnexBranch(p *packer, trees []oid) (oid, error) {
	var leaves []leaf
	add := func(path, content string) error {
		id, err := p.add(blobObject, []byte(content))
		leaves = append(leaves, leaf{path, "100644", id})
		return err
	}
	if err := m.addKeyLogs(add); err != nil {
		return oid{}, err
	}
	for _, log := range []struct{ name, content string }{
		{"uuid.log", m.uuidLog()}, {"remote.log", m.remoteLog()}, {"export.log", m.exportLog(trees[len(trees)-1])},
	} {
		if log.content == "" {
			continue
		}
		if err := add(log.name, log.content); err != nil {
			return oid{}, err
		}
	}
	tree, err := p.addTree(leaves)
	if err != nil {
		return oid{}, err
	}
	return p.addCommit(tree, nil, m.Dataset.time().Unix(), "update")
}

// addKeyLogs adds the logs of every annexed key.
func (m *Made) addKeyLogs(add func(path, content string) error) error {
	keys := make(map[annex.Key][]holding)
	var order []annex.Key
	present := make(map[annex.Key]bool)
	for i, version := range m.Versions {
		last := i == len(m.Versions)-1
		for j := range version {
			f := &version[j]
			if !f.Annexed {
				continue
			}
			if _, ok := keys[f.Key]; !ok {
				order = append(order, f.Key)
				keys[f.Key] = nil
			}
			present[f.Key] = last && m.Dataset.Present
			for r := range m.Dataset.Remotes {
				remote := &m.Dataset.Remotes[r]
				if remote.Holds(&f.File) && (last || remote.Kind == Versioned) {
					keys[f.Key] = append(keys[f.Key], holding{f, remote})
				}
			}
		}
	}
	for _, key := range order {
		base := key.HashDirLower() + "/" + key.FileName() + ".log"
		at := keys[key]
		location, versions, web := m.locationLog(at, present[key]), m.versionLog(at), m.webLog(at)
		for _, log := range []struct{ suffix, content string }{{"", location}, {".rmet", versions}, {".web", web}} {
			if log.content == "" {
				continue
			}
			if err := add(base+log.suffix, log.content); err != nil {
				return err
			}
		}
	}
	return nil
}

// stamp is the time of the git-annex branch, as its logs have it.
func (m *Made) stamp() string { return fmt.Sprintf("%ds", m.Dataset.time().Unix()) }

func (m *Made) locationLog(at []holding, present bool) string {
	var uuids []string
	for _, h := range at {
		uuids = append(uuids, m.UUID(h.remote))
	}
	if present {
		uuids = append(uuids, m.originUUID())
	}
	slices.Sort(uuids)
	var b strings.Builder
	for _, u := range slices.Compact(uuids) {
		fmt.Fprintf(&b, "%s 1 %s\n", m.stamp(), u)
	}
	return b.String()
}

// versionLog is the remote metadata: which S3 version of which exported path
// has the content.
func (m *Made) versionLog(at []holding) string {
	values := make(map[string][]string)
	var uuids []string
	for _, h := range at {
		if h.remote.Kind != Versioned {
			continue
		}
		u := m.UUID(h.remote)
		if values[u] == nil {
			uuids = append(uuids, u)
		}
		values[u] = append(values[u], "+"+metadataValue(m.VersionID(h.remote, h.file)+"#"+m.Dataset.Name+"/"+h.file.Path))
	}
	slices.Sort(uuids)
	var b strings.Builder
	for _, u := range uuids {
		slices.Sort(values[u])
		fmt.Fprintf(&b, "%s %s:V %s\n", m.stamp(), u, strings.Join(slices.Compact(values[u]), " "))
	}
	return b.String()
}

// metadataValue encodes what the line format could not hold as it is.
func metadataValue(s string) string {
	if strings.HasPrefix(s, "!") || strings.ContainsFunc(s, unicode.IsSpace) {
		return "!" + base64.StdEncoding.EncodeToString([]byte(s))
	}
	return s
}

func (m *Made) webLog(at []holding) string {
	var urls []string
	for _, h := range at {
		if h.remote.Kind == Web {
			urls = append(urls, h.remote.objectURL(m.Dataset.Name, h.file.Path))
		}
	}
	slices.Sort(urls)
	var b strings.Builder
	for _, u := range slices.Compact(urls) {
		fmt.Fprintf(&b, "%s 1 %s\n", m.stamp(), u)
	}
	return b.String()
}

func (m *Made) uuidLog() string {
	lines := []string{fmt.Sprintf("%s %s timestamp=%s\n", m.originUUID(), "origin", m.stamp())}
	for i := range m.Dataset.Remotes {
		if r := &m.Dataset.Remotes[i]; r.Kind != Web {
			lines = append(lines, fmt.Sprintf("%s %s timestamp=%s\n", m.UUID(r), r.Name, m.stamp()))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func (m *Made) remoteLog() string {
	var lines []string
	for i := range m.Dataset.Remotes {
		r := &m.Dataset.Remotes[i]
		if r.Kind == Web {
			continue
		}
		var words []string
		for k, v := range m.config(r) {
			if v != "" {
				words = append(words, k+"="+v)
			}
		}
		slices.Sort(words)
		lines = append(lines, fmt.Sprintf("%s %s timestamp=%s\n", m.UUID(r), strings.Join(words, " "), m.stamp()))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// config returns a remote's settings: those of OpenNeuro's public bucket,
// but nothing in them names a host that is not the remote's own.
func (m *Made) config(r *Remote) map[string]string {
	c := map[string]string{
		"autoenable": "true", "bucket": "bucket", "datacenter": "US", "encryption": "none",
		"exporttree": "yes", "fileprefix": m.Dataset.Name + "/", "name": r.Name, "partsize": "1GiB",
		"public": "yes", "publicurl": r.URL, "requeststyle": "path", "storageclass": "STANDARD", "type": "S3",
	}
	if u, err := url.Parse(r.URL); err == nil {
		c["host"], c["port"], c["protocol"] = u.Hostname(), u.Port(), u.Scheme
	}
	if r.Kind == Versioned {
		c["versioning"] = "yes"
	}
	for k, v := range r.Config {
		c[k] = v
	}
	return c
}

// exportLog says which tree each remote has.
func (m *Made) exportLog(tree oid) string {
	var lines []string
	for i := range m.Dataset.Remotes {
		if r := &m.Dataset.Remotes[i]; r.Kind != Web {
			lines = append(lines, fmt.Sprintf("%s %s:%s %s\n", m.stamp(), m.originUUID(), m.UUID(r), tree))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
