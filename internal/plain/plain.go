// Package plain makes text of strangers harmless to show.
//
// What a server, git, git-annex or a dataset said ends up on terminals and in
// logs. There a control character could move the cursor, change the window's
// title or forge a line, and a bidirectional mark could show a name as another
// one. Such text goes through this package where it enters; what comes out has
// one line and shows every character that it has.
//
// It is pure: no I/O, no goroutines, no state.
package plain

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text returns s with each character that a terminal would obey, or not show,
// written out: control characters (also those from U+0080 on), line and
// paragraph separators, bidirectional marks, other invisible ones, and bytes
// that are not UTF-8. They become Go's escapes, such as \n, \x1b or \u202e. All
// else stays as it is, also backslashes, so that ordinary text comes back
// unchanged, and Text(Text(s)) is Text(s).
func Text(s string) string {
	at := strings.IndexFunc(s, hidden)
	if at < 0 {
		return s
	}
	var b strings.Builder
	b.WriteString(s[:at])
	for len(s) > at {
		r, n := utf8.DecodeRuneInString(s[at:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[at])
		case !hidden(r):
			b.WriteString(s[at : at+n])
		default:
			b.WriteString(escape(r))
		}
		at += n
	}
	return b.String()
}

// Short is [Text], cut after at most max bytes; "…" then says so.
func Short(s string, max int) string {
	const more = "…"
	whole := len(s) <= max
	if !whole {
		s = s[:cut(s, max)] // the work is bounded too
	}
	s = Text(s)
	if len(s) > max {
		whole, s = false, s[:cut(s, max)]
	}
	if !whole {
		s += more
	}
	return s
}

// cut returns the last place up to max, which is less than len(s), where no
// character is cut in two.
func cut(s string, max int) int {
	for n := max; n > 0 && n > max-utf8.UTFMax; n-- {
		if utf8.RuneStart(s[n]) {
			return n
		}
	}
	return max
}

// hidden reports whether a terminal would not show r as itself. Two joiners
// stay, which many languages are written with. U+FFFD is looked at more
// closely: it also stands for a byte that is not UTF-8.
func hidden(r rune) bool {
	const joiner, nonJoiner = '\u200d', '\u200c'
	return r == utf8.RuneError || !unicode.IsGraphic(r) && r != joiner && r != nonJoiner
}

func escape(r rune) string {
	switch {
	case r == utf8.RuneError:
		return string(r)
	case r == '\n':
		return `\n`
	case r == '\r':
		return `\r`
	case r == '\t':
		return `\t`
	case r < 0x80:
		return fmt.Sprintf(`\x%02x`, r)
	case r < 0x10000:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}
