package dataset

import (
	"errors"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Nothing waits for itself, over however many others.
func TestNothingWaitsForItself(t *testing.T) {
	var w waits
	a, b, c, d := annex.GitKey("a", 1), annex.GitKey("b", 1), annex.GitKey("c", 1), annex.GitKey("d", 1)
	must := func(key, on annex.Key) func() {
		t.Helper()
		end, err := w.begin(key, on)
		if err != nil {
			t.Fatal(err)
		}
		return end
	}
	refused := func(key, on annex.Key) {
		t.Helper()
		if _, err := w.begin(key, on); !errors.Is(err, errItself) {
			t.Errorf("%s waits for %s: %v", key, on, err)
		}
	}
	refused(a, a)
	ab := must(a, b)
	refused(b, a)
	bc := must(b, c)
	refused(c, a)
	refused(c, b)
	ac := must(a, c) // two ways to the same are no circle
	cd := must(c, d)
	refused(d, a)
	ab()
	refused(d, a)
	ac()
	da := must(d, a)
	refused(a, b)
	for _, end := range []func(){bc, cd, da} {
		end()
	}
	if len(w.on) != 0 {
		t.Errorf("left: %v", w.on)
	}
	// As often as it waits.
	one, two := must(a, b), must(a, b)
	one()
	refused(b, a)
	two()
	must(b, a)()
}
