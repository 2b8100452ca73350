package web

import (
	"testing"
	"time"
)

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-9/100", "bytes 0-9/*", "bytes */100", "bytes 5-4/10", "bytes -1-4/10", "bytes 0-99999999999999999999/1", "bytes +0-9/10", "bytes 0-9/5", "items 0-9/10", "bytes 0-9/100, 20-29/100", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		start, end, total, ok := parseContentRange(s)
		if !ok {
			if start != 0 || end != 0 || total != 0 {
				t.Errorf("%q is refused and gives %d-%d/%d", s, start, end, total)
			}
			return
		}
		if start < 0 || end < start || total != -1 && total <= end || end-start+1 <= 0 {
			t.Errorf("%q gives %d-%d/%d", s, start, end, total)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"0", "120", "-1", "99999999999999999999", "Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "soon", "1.5", "+3", ""} {
		f.Add(s)
	}
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		if d := retryAfter(s, now); d < 0 || d > maxRetryAfter {
			t.Errorf("%q gives %v", s, d)
		}
	})
}
