package plain

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestOrdinaryTextStaysAsItIs(t *testing.T) {
	for _, s := range []string{
		"", "sub-01_T1w.nii.gz", "a b\\c", `C:\x1b`, "ä ö 日本語", "می\u200cخواهم", "👨‍👩‍👧", "e\u0301", "50 % \"quoted\"", "\ufffd", "a\u00a0b",
	} {
		if got := Text(s); got != s {
			t.Errorf("Text(%q) = %q", s, got)
		}
	}
}

func TestWhatATerminalObeysIsWrittenOut(t *testing.T) {
	for s, want := range map[string]string{
		"a\x1b[2Jb":          `a\x1b[2Jb`,
		"\x07bell":           `\x07bell`,
		"two\nlines\r\n":     `two\nlines\r\n`,
		"a\tb":               `a\tb`,
		"\x7f":               `\x7f`,
		"\u009b31m":          `\u009b31m`,
		"\u0085":             `\u0085`,
		"a\u202egpj.exe":     `a\u202egpj.exe`,
		"\u2066x\u2069":      `\u2066x\u2069`,
		"\u200e\u200f\u061c": `\u200e\u200f\u061c`,
		"\u2028\u2029":       `\u2028\u2029`,
		"\ufeff\u200b":       `\ufeff\u200b`,
		"a\xff\x9bb":         `a\xff\x9bb`,
		"\xe2\x80":           `\xe2\x80`,
		"\U000e0041":         `\U000e0041`,
	} {
		if got := Text(s); got != want {
			t.Errorf("Text(%q) = %q, want %q", s, got, want)
		}
	}
}

func TestShortSaysThatItCut(t *testing.T) {
	for _, c := range []struct {
		s    string
		max  int
		want string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "abc…"}, {"äö", 3, "ä…"}, {"\n\n", 3, `\n\…`},
		{strings.Repeat("\x9b", 100), 8, `\x9b\x9b…`}, {"abc", 0, "…"},
	} {
		if got := Short(c.s, c.max); got != c.want {
			t.Errorf("Short(%q, %d) = %q, want %q", c.s, c.max, got, c.want)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"a", "\x1b[0m", "\u202e", "\xff\xfe", "\u009b", "é\n"} {
		f.Add(s, 5)
	}
	f.Fuzz(func(t *testing.T, s string, max int) {
		max = min(max&0xfff, 2000)
		for _, got := range []string{Text(s), Short(s, max)} {
			if !utf8.ValidString(got) {
				t.Errorf("%q gives invalid UTF-8: %q", s, got)
			}
			for _, r := range got {
				if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
					t.Errorf("%q keeps %U", s, r)
				}
			}
			if Text(got) != got {
				t.Errorf("%q is not stable: %q", s, got)
			}
		}
		if got := Short(s, max); len(got) > max+len("…") {
			t.Errorf("Short(%q, %d) has %d bytes", s, max, len(got))
		}
	})
}
