package fetch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A value that is written to git's configuration is read back as it was.
func TestQuotedConfiguration(t *testing.T) {
	needGit(t)
	for _, value := range []string{"https://example.org/a", `C:\data "x"`, " a # b ; c ", "ž=1"} {
		file := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(file, []byte("[remote \"origin\"]\n\turl = "+quote(value)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSuffix(run(t, t.TempDir(), "git", "config", "-f", file, "remote.origin.url"), "\n"); got != value {
			t.Errorf("%q is read as %q", value, got)
		}
	}
}

func TestWhatGitAnnexLacks(t *testing.T) {
	if AnnexLacks("10.20230126") == "" || AnnexLacks("8.20250721") == "" || AnnexLacks("11.20200101") != "" || AnnexLacks(readsPublicURL) != "" || AnnexLacks("10.20250721") != "" || AnnexLacks("") != "" {
		t.Error("what a version of git-annex lacks")
	}
}
