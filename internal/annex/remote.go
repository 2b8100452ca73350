package annex

import (
	"cmp"
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A RemoteConfig is how a special remote was set up, by the names of
// "git annex initremote", such as "type" and "bucket". It is untrusted.
type RemoteConfig map[string]string

// Type returns the special remote's type: "S3", "httpalso", "directory"…
func (c RemoteConfig) Type() string { return c["type"] }

// Name returns what people call the special remote; it may be empty.
func (c RemoteConfig) Name() string { return cmp.Or(c["name"], c["sameas-name"]) }

// LocationUUID returns the uuid under which the logs speak of what the remote
// holds: for a second way to the same store (--sameas) that is the other
// remote's. uuid is the one the configuration is recorded under.
func (c RemoteConfig) LocationUUID(uuid UUID) UUID {
	return UUID(cmp.Or(c["sameas-uuid"], string(uuid)))
}

// plain reports whether the remote holds content as it is.
func (c RemoteConfig) plain() bool {
	return (c["encryption"] == "" || c["encryption"] == "none") && c["chunk"] == "" && c["chunksize"] == ""
}

// inherited is what a second way to a store (--sameas) has of the first: how content
// is kept there.
var inherited = []string{"encryption", "chunk", "chunksize"}

// ParseRemoteLog parses remote.log: the special remotes, by uuid. What they inherit is
// filled in.
func ParseRemoteLog(log []byte) map[UUID]RemoteConfig {
	remotes := make(map[UUID]RemoteConfig)
	for u, words := range parseByUUID(log) {
		c := make(RemoteConfig, len(words))
		for _, w := range words {
			k, v, _ := strings.Cut(w, "=")
			c[k] = unescapeConfig(v)
		}
		remotes[u] = c
	}
	for u, c := range remotes {
		first := remotes[c.LocationUUID(u)]
		for _, k := range inherited {
			if _, own := c[k]; !own && first[k] != "" {
				c[k] = first[k]
			}
		}
	}
	return remotes
}

// unescapeConfig replaces "&32;" by a space, and so on: a value is one word in
// the log.
func unescapeConfig(v string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(v, "&")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		v = after
		number, rest, ended := strings.Cut(after, ";")
		if n, err := strconv.ParseUint(number, 10, 32); ended && err == nil && isDigits(number) && n <= utf8.MaxRune {
			b.WriteRune(rune(n))
			v = rest
		} else {
			b.WriteByte('&')
		}
	}
}

// ParseRemoteMetadata parses a key's per-remote metadata ("KEY.log.rmet"),
// lines like "TIME UUID:V +VALUE -VALUE". It returns, by the remote's uuid, the
// values of the field "V" that are set, newest first. An S3 remote with
// versioning keeps there "VERSIONID#OBJECT"; see [RemoteConfig.VersionedURLs].
func ParseRemoteMetadata(log []byte) map[UUID][]string {
	type id struct {
		remote UUID
		value  string
	}
	type state struct {
		id
		at  clock
		set bool
	}
	newest := make(map[id]state)
	for line := range logLines(log) {
		when, rest, _ := strings.Cut(line, " ")
		at, ok := parseClock(when)
		if !ok {
			continue
		}
		field := ""
		for _, w := range strings.Fields(rest) {
			value, set, isValue := parseMetadataValue(w)
			if !isValue {
				field = w
				continue
			}
			remote, name, _ := strings.Cut(field, ":")
			if !strings.EqualFold(name, "V") || value == "" {
				continue
			}
			k := id{UUID(remote), value}
			if old, ok := newest[k]; !ok || at.compare(old.at) >= 0 {
				newest[k] = state{k, at, set}
			}
		}
	}
	states := slices.SortedFunc(maps.Values(newest), func(a, b state) int {
		return cmp.Or(b.at.compare(a.at), strings.Compare(a.value, b.value))
	})
	values := make(map[UUID][]string)
	for _, s := range states {
		if s.set {
			values[s.remote] = append(values[s.remote], s.value)
		}
	}
	return values
}

// parseMetadataValue parses "+VALUE" or "-VALUE"; a value with white space is
// written "!" and base64. isValue is false for the name of a field. A value
// that cannot be decoded is empty.
func parseMetadataValue(w string) (value string, set, isValue bool) {
	if w[0] != '+' && w[0] != '-' {
		return "", false, false
	}
	value, set = w[1:], w[0] == '+'
	if code, ok := strings.CutPrefix(value, "!"); ok {
		b, err := base64.StdEncoding.DecodeString(code)
		if err != nil {
			return "", set, true
		}
		value = string(b)
	}
	return value, set, true
}
