package sourcetest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// Fetch fetches [off, off+n) and checks that what came is the truth, whole unless
// there is an error.
func Fetch(t testing.TB, s source.Source, content []byte, off, n int64) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got bytes.Buffer
	err := s.Fetch(ctx, off, n, &got)
	if ctx.Err() != nil {
		t.Fatal("it hangs")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it looks as if the asker had run out of time: %v", err)
	}
	want := content[off : off+n]
	if err == nil && got.Len() != len(want) {
		t.Errorf("%d bytes of %d without an error", got.Len(), len(want))
	}
	if !bytes.HasPrefix(want, got.Bytes()) {
		t.Errorf("bytes %d to %d: what came is wrong", off, off+n)
	}
	return err
}

// WantClass checks the class of a failure and that it is harmless to show.
func WantClass(t testing.TB, err error, outage bool, says string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("no error; want one with %q", says)
	case source.IsOutage(err) != outage:
		t.Errorf("outage: %v, want %v: %v", source.IsOutage(err), outage, err)
	case !strings.Contains(err.Error(), says):
		t.Errorf("error %q does not say %q", err, says)
	case strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x202e }) || len(err.Error()) > 1500:
		t.Errorf("error is not harmless: %q", err)
	}
}
