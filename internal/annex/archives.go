package annex

import (
	"net/url"
	"slices"
	"strings"
)

// A Member is a file in an archive that is itself content of the dataset.
type Member struct {
	Archive Key
	Path    string // in the archive, with slashes
}

// ParseArchiveLog parses a key's URL log ("KEY.log.web") and returns in which archives
// DataLad's special remote "datalad-archives" knows the content to be, newest first:
// URLs like "dl+archive:KEY#path=PATH&size=SIZE". Malformed ones are left out. Paths
// are untrusted: they name something in the archive, and nothing outside of it.
func ParseArchiveLog(log []byte) []Member {
	var members []Member
	for _, e := range parsePresence(log) {
		rest, ok := strings.CutPrefix(strings.TrimPrefix(e.info, ":"), "dl+archive:")
		if !e.present || !ok {
			continue
		}
		if m, ok := parseMember(rest); ok && !slices.Contains(members, m) {
			members = append(members, m)
		}
	}
	return members
}

// parseMember parses "KEY#path=PATH&size=SIZE", or as DataLad wrote it before 2016,
// "KEY/PATH#size=SIZE".
func parseMember(s string) (Member, bool) {
	name, fragment, _ := strings.Cut(s, "#")
	attributes, err := url.ParseQuery(fragment)
	if err != nil {
		return Member{}, false
	}
	path := attributes.Get("path")
	if path == "" {
		if name, path, _ = strings.Cut(name, "/"); path != "" {
			path, err = url.PathUnescape(path)
		}
	}
	if err != nil || path == "" {
		return Member{}, false
	}
	key, err := ParseKey(name)
	if err != nil {
		if name, err = url.PathUnescape(name); err == nil {
			key, err = ParseKey(name)
		}
	}
	return Member{Archive: key, Path: path}, err == nil
}
