package candidates

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

// Files are read as git reads them, and refused where git refuses them.
func TestGitReadsTheSame(t *testing.T) {
	gittest.NeedGit(t)
	r := rand.New(rand.NewPCG(3, 4))
	pieces := []string{
		"[submodule \"a\"]\n", "[Core]\n", "[a.B]\n", "[x \"q\\\"\\\\r\\s\"]\n", "[s \"\"] k = v\n", "[bad\n", "[a \"b\" ]\n",
		"\tpath = a b\n", "\turl=../x # c\n", "\tk\n", "\tk =\n", "\tK-1 = \"q ; # \" tail ; c\n", "\tk = a\\\n  b\n", "\tk = \\t\\n\\\"\\\\\\b\n", "\tk = \"open\n", "\tk = \\q\n", "\t1 = 2\n", "\tk v\n",
		"# c\n", "; c\n", "\n", " \t\n", "\tk = x\r\n", "\tk = \xff\xfe\n", "\tk = ä\n", "\tk = \"a\"  \"b\"  \n", "  k = last\n", "]", "\tk_ = x\n", "\tk   \t = x\n", "\tk # c\n",
	}
	file := filepath.Join(t.TempDir(), "config")
	taken := 0
	for range 400 {
		text := pieces[r.IntN(5)]
		for range r.IntN(6) {
			text += pieces[r.IntN(len(pieces))]
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, gits := exec.Command("git", "config", "-z", "--list", "--no-includes", "--file", file).Output()
		got, err := ParseFile([]byte(text))
		if (err == nil) != (gits == nil) {
			t.Errorf("%q: %v, and git: %v", text, err, gits)
			continue
		}
		if want := ParseList(string(out)); err == nil && !slices.Equal(got, want) {
			t.Errorf("%q:\ngot  %+v\nwant %+v", text, got, want)
		}
		if err == nil && strings.Contains(text, "=") {
			taken++
		}
	}
	if taken < 50 {
		t.Errorf("git takes %d of them", taken)
	}
}
