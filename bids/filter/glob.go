package filter

import (
	"errors"
	"regexp"
	"strings"
)

func isGlob(s string) bool { return strings.ContainsAny(s, "*?[") }

// goGlob turns a shell's negated class, [!a], into that of path.Match.
func goGlob(s string) string { return strings.ReplaceAll(s, "[!", "[^") }

// CompileGlob compiles a glob over paths: *, ? and [!a] stay within a
// name, ** crosses directories. A glob without "/" matches a name in the path at any
// depth; with one, from the dataset's root. What matches a directory matches
// all in it.
func CompileGlob(glob string) (*regexp.Regexp, error) {
	anchored := strings.Contains(strings.TrimRight(glob, "/"), "/")
	glob = strings.Trim(glob, "/")
	var re strings.Builder
	if anchored {
		re.WriteString("^")
	} else {
		re.WriteString("(^|/)")
	}
	for i := 0; i < len(glob); {
		n := 1
		switch rest := glob[i:]; {
		case strings.HasPrefix(rest, "**/"):
			n = 3
			re.WriteString("(.*/)?")
		case strings.HasPrefix(rest, "**"):
			n = 2
			re.WriteString(".*")
		case rest[0] == '*':
			re.WriteString("[^/]*")
		case rest[0] == '?':
			re.WriteString("[^/]")
		case rest[0] == '[':
			if n = strings.IndexByte(rest[1:], ']') + 2; n < 3 {
				return nil, errors.New("a bracket is not closed")
			}
			class := strings.ReplaceAll(rest[1:n-1], `\`, `\\`)
			if class != "" && (class[0] == '!' || class[0] == '^') {
				if class = class[1:]; class == "" {
					return nil, errors.New("a bracket is not closed")
				}
				class = "^/" + class
			}
			re.WriteString("[" + class + "]")
		default:
			re.WriteString(regexp.QuoteMeta(rest[:1]))
		}
		i += n
	}
	re.WriteString("(/|$)")
	return regexp.Compile(re.String())
}

// Globs are compiled globs; a path matches when one does.
type Globs []*regexp.Regexp

// CompileGlobs compiles globs, and leaves out what is none.
func CompileGlobs(list []string) (gs Globs) {
	for _, g := range list {
		if re, err := CompileGlob(g); err == nil {
			gs = append(gs, re)
		}
	}
	return gs
}

// Match reports whether a path matches one of the globs.
func (gs Globs) Match(path string) bool {
	for _, re := range gs {
		if re.MatchString(path) {
			return true
		}
	}
	return false
}
