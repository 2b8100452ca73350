package fetch

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/web"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/source/sourcetest"
)

// addLogs adds files to the git-annex branch of a dataset.
func addLogs(t testing.TB, m *maker.Made, files map[string]string) {
	t.Helper()
	var in strings.Builder
	in.WriteString("commit refs/heads/git-annex\ncommitter a <a@example.org> 1700000000 +0000\ndata 1\nx\nfrom refs/heads/git-annex^0\n")
	for path, text := range files {
		fmt.Fprintf(&in, "M 100644 inline %s\ndata %d\n%s\n", path, len(text), text)
	}
	script := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(script, []byte(in.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, m.Dir, "sh", "-c", "git fast-import --quiet < "+script)
}

func httpSources(list []Source) (urls []string) {
	for _, s := range list {
		if h, ok := s.(*web.Source); ok {
			urls = append(urls, h.String())
		}
	}
	return urls
}

// A failure to read what the git-annex branch says passes with its reason.
func TestOriginForgetsItsFailures(t *testing.T) {
	_, m := dataset(t, maker.Versioned, 1, 1000)
	r, dir := origin(t, m.Dir, OriginOptions{Fetcher: "native"})
	key := m.Files[0].Key
	if err := r.clone.WaitBranch(t.Context()); err != nil {
		t.Fatal(err)
	}
	objects, away := filepath.Join(dir, "objects"), filepath.Join(dir, "objects.away")
	if err := os.Rename(objects, away); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(objects, "pack"), 0o700); err != nil {
		t.Fatal(err)
	}
	if list, err := r.Sources(t.Context(), key); err == nil {
		t.Fatalf("no error, but %v", list)
	}
	if err := os.RemoveAll(objects); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, objects); err != nil {
		t.Fatal(err)
	}
	git, err := gitstore.Open(dir, gitstore.Options{Git: FindGit()})
	if err != nil {
		t.Fatal(err)
	}
	defer git.Close()
	r.git = git // a git child keeps what it saw; the origin must not
	list, err := r.Sources(t.Context(), key)
	if err != nil || len(httpSources(list)) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}

// However many URLs a key has, a few are tried: exact versions first. A log
// that is far too large is not read at all; git-annex is left.
func TestURLsOfAKeyAreBounded(t *testing.T) {
	_, m := dataset(t, maker.Versioned, 2, 1000)
	lines := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "1700000000s 1 https://example.org/%d\n", i)
		}
		return b.String() + "1700000001s 1 https://example.org/" + strings.Repeat("x", 20_000) + "\n"
	}
	log := func(i int) string {
		k := m.Files[i].Key
		return k.HashDirLower() + "/" + k.FileName() + ".log.web"
	}
	addLogs(t, m, map[string]string{log(0): lines(10_000), log(1): lines(300_000)})
	r, _ := origin(t, m.Dir, OriginOptions{Fetcher: "native"})
	list, err := r.Sources(t.Context(), m.Files[0].Key)
	if err != nil || len(list) != maxURLs || list[0].String() != m.URLs(&m.Files[0])[0] || !list[0].Exact() || list[1].Exact() {
		t.Errorf("%d sources, %v: %.300s", len(list), err, fmt.Sprint(list))
	}
	start := time.Now()
	list, err = r.Sources(t.Context(), m.Files[1].Key)
	if err == nil || len(list) != 1 || len(err.Error()) > 1000 {
		t.Errorf("%d sources, %v", len(list), err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
}

// A URL of the git-annex branch leads nowhere it must not, whoever lists it.
func TestURLsOfTheBranchAreJudged(t *testing.T) {
	_, m := dataset(t, maker.Versioned, 1, 1000)
	k := m.Files[0].Key
	bad := []string{"file:///etc/passwd", "ftp://example.org/a", "http://10.0.0.1/", "http://[::7f00:1]/", "data:,a", "ext::id", "-x", "http://a:b@example.org/"}
	var log strings.Builder
	for _, u := range bad {
		fmt.Fprintf(&log, "1700000000s 1 %s\n", u)
	}
	addLogs(t, m, map[string]string{k.HashDirLower() + "/" + k.FileName() + ".log.web": log.String()})
	r, _ := origin(t, m.Dir, OriginOptions{Fetcher: "native"})
	list, err := r.Sources(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	content, _ := maker.Bytes(m.Files[0].Content)
	for _, s := range list[1:] {
		sourcetest.WantClass(t, sourcetest.Fetch(t, s, content, 0, 1000), false, "")
	}
	if err := sourcetest.Fetch(t, list[0], content, 0, 1000); err != nil {
		t.Error(err)
	}
}
