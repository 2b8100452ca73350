package annex

import (
	"bytes"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

// oracles returns a scratch git-annex repository and every git-annex to be
// asked. It skips the test when there is none.
func oracles(t *testing.T) (repo string, programs []string) {
	t.Helper()
	programs, repo = gittest.Annexes(t), gittest.AnnexDir(t)
	run(t, repo, "git", "init", "-q")
	run(t, repo, programs[0], "init", "-q", "test")
	return repo, programs
}

func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := try(dir, args...)
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return out
}

func try(dir string, args ...string) (string, error) {
	c := exec.Command(args[0], args[1:]...)
	c.Dir = dir
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		return errs.String(), err
	}
	return string(out), nil
}

func TestKeyAgreesWithGitAnnex(t *testing.T) {
	repo, programs := oracles(t)
	for _, s := range append(validKeys, malformedKeys...) {
		if strings.Contains(s, " ") {
			continue // examinekey takes what follows a space for a file name
		}
		k, mine := ParseKey(s)
		for _, p := range programs {
			out, theirs := try(repo, p, "examinekey", "--format=${key}\n${bytesize}\n${backend}\n${hashdirlower}\n${hashdirmixed}\n${objectpath}", "--", s)
			if (mine == nil) && (theirs != nil) {
				t.Errorf("%s refuses %q, ParseKey takes it", p, s)
			}
			if mine != nil || theirs != nil {
				continue
			}
			size := "unknown"
			if n, ok := k.Size(); ok {
				size = strconv.FormatInt(n, 10)
			}
			f := k.FileName()
			want := strings.Join([]string{k.String(), size, k.Backend(), k.HashDirLower() + "/", k.HashDirMixed() + "/",
				".git/annex/objects/" + k.HashDirMixed() + "/" + f + "/" + f}, "\n")
			if out != want {
				t.Errorf("%s says of %q:\n%s\nwe say:\n%s", p, s, out, want)
			}
		}
	}
}

// TestHashAgreesWithGitAnnex asks for keys of a file under every backend.
func TestHashAgreesWithGitAnnex(t *testing.T) {
	repo, programs := oracles(t)
	content := []byte("some content\n")
	if err := os.WriteFile(filepath.Join(repo, "f.nii.gz"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	verifiable := 0
	for _, p := range programs {
		_, list, _ := strings.Cut(run(t, repo, p, "version"), "key/value backends: ")
		list, _, _ = strings.Cut(list, "\n")
		for backend := range strings.FieldsSeq(list) {
			s, err := try(repo, p, "calckey", "--backend="+backend, "f.nii.gz")
			if err != nil {
				continue // not a backend that makes keys
			}
			k, err := ParseKey(strings.TrimSpace(s))
			if err != nil {
				t.Errorf("%s: %v", backend, err)
				continue
			}
			h, want, ok := k.NewHash()
			if !ok {
				t.Logf("%s cannot be verified", backend)
				continue
			}
			verifiable++
			h.Write(content)
			if got := hex.EncodeToString(h.Sum(nil)); got != want {
				t.Errorf("%s: digest %s, key %s", backend, got, k)
			}
		}
	}
	if verifiable < 20 {
		t.Errorf("only %d backends could be verified", verifiable)
	}
}

func TestPointerAgreesWithGitAnnex(t *testing.T) {
	repo, programs := oracles(t)
	for i, c := range pointers {
		name := "f" + strconv.Itoa(i)
		if err := os.WriteFile(filepath.Join(repo, ".git", name), []byte(c.blob), 0o600); err != nil {
			t.Fatal(err)
		}
		// Past the filters, so that the blob is exactly this.
		id := strings.TrimSpace(run(t, repo, "git", "hash-object", "-w", "--no-filters", ".git/"+name))
		run(t, repo, "git", "update-index", "--add", "--cacheinfo", "100644,"+id+","+name)
	}
	for _, p := range programs {
		for i, c := range pointers {
			out, err := try(repo, p, "lookupkey", "f"+strconv.Itoa(i))
			if err != nil {
				out = ""
			}
			if strings.TrimSpace(out) != c.key {
				t.Errorf("%s takes %.60q for key %q, the table says %q", p, c.blob, out, c.key)
			}
		}
	}
}
