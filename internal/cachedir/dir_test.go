package cachedir

import (
	"os"
	"path/filepath"
	"testing"
)

// A process that was killed while it marked its new cache leaves a directory
// that is a cache all the same; what others keep is nobody's cache.
func TestCacheWhoseMakingWasKilled(t *testing.T) {
	for _, n := range []int{0, 10, 43, len(marker)} {
		dir := Dir(t.TempDir())
		if err := os.WriteFile(filepath.Join(string(dir), markerName+".new"), []byte(marker[:n]), 0o600); err != nil {
			t.Fatal(err)
		}
		if dir.Exists() {
			t.Errorf("%d bytes of the marker are taken for it", n)
		}
		if err := dir.Make(); err != nil || !dir.Exists() {
			t.Errorf("killed after %d bytes: %v", n, err)
		}
		if _, err := os.Lstat(dir.path(markerName + ".new")); err == nil {
			t.Error("something is left")
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
