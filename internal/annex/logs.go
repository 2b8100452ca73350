package annex

import (
	"bytes"
	"cmp"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// The logs of the git-annex branch: text files whose lines each stand for
// themselves, so that git can merge them by keeping all lines of both sides.
// Later lines therefore do not replace earlier ones, newer ones do. A line
// that is malformed is skipped, as git-annex does: a newer git-annex may have
// written it. https://git-annex.branchable.com/internals/

// A UUID names a repository or special remote; any word may be one.
type UUID string

// WebUUID is the special remote "web", which is in every repository.
const WebUUID UUID = "00000000-0000-0000-0000-000000000001"

// ParseLocationLog parses a key's location log ("KEY.log"): which
// repositories are known to have the content (true) or not to have it any
// longer (false: dropped, or dead).
func ParseLocationLog(log []byte) map[UUID]bool {
	present := make(map[UUID]bool)
	for _, e := range parsePresence(log) {
		present[UUID(e.info)] = e.present
	}
	return present
}

// ParseWebLog parses a key's URL log ("KEY.log.web") and returns the URLs
// that can be fetched as they are, newest first, and after them those of the web that
// a special remote's program has claimed (":https://…"): DataLad's claims all, also
// those that anybody can fetch. Others that are marked ("yt:URL", and those of
// [ParseArchiveLog]) are left out. The URLs are untrusted and not validated; their
// schemes may be anything.
func ParseWebLog(log []byte) []string {
	var urls, claimed []string
	for _, e := range parsePresence(log) {
		mark, rest, ok := strings.Cut(e.info, ":")
		switch {
		case !e.present || !ok || slices.Contains([]string{"yt", "quvi", "dl+archive"}, mark):
		case mark != "":
			urls = append(urls, e.info)
		case strings.HasPrefix(rest, "https://") || strings.HasPrefix(rest, "http://"):
			claimed = append(claimed, rest)
		}
	}
	return append(urls, claimed...)
}

// logLines returns the lines that are not empty. Old versions for Windows
// wrote "\r", so it ends a line too.
func logLines(log []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		for line := range bytes.FieldsFuncSeq(log, func(r rune) bool { return r == '\n' || r == '\r' }) {
			if !yield(string(line)) {
				return
			}
		}
	}
}

// A presence is the current state of one thing in a presence log.
type presence struct {
	at      clock
	present bool
	info    string
}

// parsePresence parses "TIME STATUS INFO" lines, newest first. Of lines of the
// same time for the same thing the first counts, as in git-annex.
func parsePresence(log []byte) []presence {
	newest := make(map[string]presence)
	for line := range logLines(log) {
		when, rest, _ := strings.Cut(line, " ")
		status, info, ok := strings.Cut(rest, " ")
		at, known := parseClock(when)
		if !ok || !known || info == "" || status != "1" && status != "0" && status != "X" {
			continue
		}
		if old, ok := newest[info]; !ok || at.compare(old.at) > 0 {
			newest[info] = presence{at, status == "1", info}
		}
	}
	return slices.SortedFunc(maps.Values(newest), func(a, b presence) int {
		return cmp.Or(b.at.compare(a.at), strings.Compare(a.info, b.info))
	})
}

// parseByUUID parses "UUID WORDS… timestamp=TIME" lines; very old ones have no
// time and count as the oldest. Of lines of the same time the last counts.
func parseByUUID(log []byte) map[UUID][]string {
	newest := make(map[UUID]clock)
	words := make(map[UUID][]string)
	for line := range logLines(log) {
		w := strings.Fields(line)
		if len(w) == 0 {
			continue
		}
		u, rest, at := UUID(w[0]), w[1:], clock{sec: -1}
		if n := len(rest); n > 0 {
			if when, ok := strings.CutPrefix(rest[n-1], "timestamp="); ok {
				if at, ok = parseClock(when); !ok {
					continue
				}
				rest = rest[:n-1]
			}
		}
		if old, ok := newest[u]; !ok || at.compare(old) >= 0 {
			newest[u], words[u] = at, rest
		}
	}
	return words
}

// A clock is the time of a log line: seconds since 1970 and 10^-12 s.
type clock struct{ sec, pico int64 }

func (c clock) compare(d clock) int {
	return cmp.Or(cmp.Compare(c.sec, d.sec), cmp.Compare(c.pico, d.pico))
}

// parseClock parses "1699626743.692650745s"; fraction and "s" may be missing.
func parseClock(s string) (clock, bool) {
	whole, fraction, dotted := strings.Cut(strings.TrimSuffix(s, "s"), ".")
	if !isDigits(whole) || dotted && !isDigits(fraction) {
		return clock{}, false
	}
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return clock{}, false
	}
	pico, err := strconv.ParseInt((fraction + "000000000000")[:12], 10, 64)
	return clock{sec, pico}, err == nil
}

func isDigits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}
