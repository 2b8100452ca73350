package daemon

import (
	"os"
	"path/filepath"
	"testing"
)

// A process that was killed while it marked its new cache leaves a directory
// that is a cache all the same; what others keep is nobody's cache.
func TestCacheWhoseMakingWasKilled(t *testing.T) {
	for _, n := range []int{0, 10, 43, len(marker) - 1} {
		dir := Dir(t.TempDir())
		if err := os.WriteFile(filepath.Join(string(dir), markerName), []byte(marker[:n]), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := dir.Make(); err != nil || !dir.Exists() {
			t.Errorf("killed after %d bytes: %v", n, err)
		}
	}
	for name, text := range map[string]string{markerName: "somebody else's", "data": ""} {
		dir := Dir(t.TempDir())
		if err := os.WriteFile(filepath.Join(string(dir), name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := dir.Make(); err == nil {
			t.Errorf("%s with %q: taken for a cache", name, text)
		}
	}
}
