package fetch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// What git says while it clones, in the pieces in which it comes.
func TestGitsProgress(t *testing.T) {
	const said = "Cloning into bare repository 'x'...\n" +
		"remote: Enumerating objects: 12, done.        \n" +
		"remote: Counting objects:   8% (1/12)        \rremote: Counting objects: 100% (12/12)        \rremote: Counting objects: 100% (12/12), done.        \n" +
		"remote: Total 12 (delta 0), reused 0 (delta 0), pack-reused 0        \n" +
		"Receiving objects:  50% (6/12), 1.21 MiB | 2.00 MiB/s\rReceiving objects: 100% (12/12), 2.42 MiB | 2.10 MiB/s, done.\n" +
		"Resolving deltas: 100% (3/3), done.\n" +
		"fatal: the remote end hung up unexpectedly"
	for _, piece := range []int{1, 7, len(said)} {
		var told []string
		w := &progressWriter{tell: func(p Progress) { told = append(told, fmt.Sprintf("%s %d/%d", p.Phase, p.Done, p.Total)) }}
		for rest := said; rest != ""; {
			n := min(piece, len(rest))
			w.Write([]byte(rest[:n]))
			rest = rest[n:]
		}
		want := []string{"Counting objects 1/12", "Counting objects 12/12", "Counting objects 12/12", "Receiving objects 6/12", "Receiving objects 12/12", "Resolving deltas 3/3"}
		if !slices.Equal(told, want) {
			t.Errorf("in pieces of %d: %q", piece, told)
		}
		text := w.text()
		if strings.Contains(text, "Receiving") || !strings.HasSuffix(text, "fatal: the remote end hung up unexpectedly\n") {
			t.Errorf("in pieces of %d it also said %q", piece, text)
		}
	}
}

// However much git says, only the end of it is kept.
func TestGitsWordsAreBounded(t *testing.T) {
	w := &progressWriter{}
	for range 100 {
		w.Write([]byte(strings.Repeat("x", 100_000) + "\n"))
	}
	w.Write([]byte("fatal: at last\n"))
	if text := w.text(); len(text) > 16<<10 || !strings.HasSuffix(text, "fatal: at last\n") {
		t.Errorf("%d bytes are kept", len(text))
	}
	full := 0
	b := &boundedBuffer{full: func() { full++ }}
	if n, err := b.Write(make([]byte, maxOutput)); n != maxOutput || err != nil || full != 0 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := b.Write([]byte("x")); !errors.Is(err, errTooMuch) || full != 1 {
		t.Errorf("more than enough: %v", err)
	}
}

// Git asks nobody, waits for nobody for ever, and knows no repository but the
// one that it is given.
func TestGitsSurroundings(t *testing.T) {
	t.Setenv("GIT_DIR", "/elsewhere")
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	g := gitProgram{env: []string{"GIT_INDEX_FILE=/x", "https_proxy=http://proxy:1", "GIT_SSH=/my/ssh", "GIT_HTTP_LOW_SPEED_TIME=5"}}
	last := make(map[string]string)
	for _, kv := range g.environment() {
		name, value, _ := strings.Cut(kv, "=")
		last[name] = value
	}
	for name, want := range map[string]string{
		"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "https_proxy": "http://proxy:1", "GIT_SSH": "/my/ssh", "GIT_HTTP_LOW_SPEED_TIME": "5", "GIT_NO_LAZY_FETCH": "1",
	} {
		if last[name] != want {
			t.Errorf("%s is %q, want %q", name, last[name], want)
		}
	}
	for _, name := range []string{"GIT_DIR", "GIT_INDEX_FILE", "GIT_SSH_COMMAND"} {
		if value, there := last[name]; there {
			t.Errorf("%s is %q, and should not be", name, value)
		}
	}
	if !has(gitProgram{}.environment(), "GIT_SSH_COMMAND") {
		t.Error("ssh may ask for a password")
	}
}

// A run of git ends with what it said, with ctx, or with its output.
func TestRunsOfGit(t *testing.T) {
	needGit(t)
	g := gitProgram{path: FindGit()}
	dir := t.TempDir()
	if out, err := g.run(t.Context(), nil, "-C", dir, "init", "--quiet", "--bare"); err != nil || out != "" {
		t.Fatalf("%q, %v", out, err)
	}
	if out, err := g.run(t.Context(), nil, "-C", dir, "rev-parse", "--is-bare-repository"); err != nil || out != "true\n" {
		t.Errorf("%q, %v", out, err)
	}
	_, err := g.run(t.Context(), nil, "-C", dir, "rev-parse", "--verify", "nothing")
	if failed, ok := isGitError(err); !ok || !strings.Contains(failed.said, "Needed a single revision") || !strings.Contains(gitSaid(err), "Needed a single revision") || !strings.Contains(err.Error(), "git -C") {
		t.Errorf("%v", err)
	}
	if got := gitSaid(errors.New("else")); got != "else" {
		t.Errorf("an error of another kind is told as %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.run(ctx, nil, "-C", dir, "rev-parse", "--git-dir"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := (gitProgram{path: filepath.Join(dir, "none")}).run(t.Context(), nil, "version"); err == nil {
		t.Error("a git that is not there runs")
	}
}

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

// Lines that git-annex 10.20230126 and 10.20250721 have printed for
// get --batch --json --json-progress --json-error-messages.
func TestLinesOfGitAnnex(t *testing.T) {
	const key = "MD5E-s1000--bb1e6e5c4ba9ac9a6ae96ffe3e4a0e9f.bin"
	for line, want := range map[string]string{
		`{"action":{"command":"get","file":null,"input":[],"key":"` + key + `"},"byte-progress":100,"percent-progress":"10%","total-size":1000}`:                                                                                                       key + " 100",
		`{"command":"get","error-messages":[],"file":null,"input":[],"key":"` + key + `","note":"from s3...\nchecksum...","success":true}`:                                                                                                             key + " got",
		`{"command":"get","error-messages":["  download failed: Not Found","  Unable to access these remotes: web"],"file":null,"input":[],"key":"` + key + `","note":"from web...\nUnable to access these remotes: web","success":false,"wanted":[]}`: key + " failed",
		`{"command":"get","error-messages":[],"key":"` + key + `"}`: key + " nothing",
		`{"key":3}`: "",
		`{"command":"get","key":"../../x","success":true}`: "",
		`git-annex: unknown`: "",
		``:                   "",
	} {
		k, l, ok := parseAnnexLine([]byte(line))
		got := ""
		switch {
		case !ok:
		case l.Success == nil && l.Progress == nil:
			got = k.String() + " nothing"
		case l.Success == nil:
			got = fmt.Sprint(k, " ", *l.Progress)
		case *l.Success:
			got = k.String() + " got"
		default:
			got = k.String() + " failed"
		}
		if got != want {
			t.Errorf("%s\nis %q, want %q", line, got, want)
		}
	}
}

func TestFailuresOfGitAnnexHaveAClass(t *testing.T) {
	for _, c := range []struct {
		said   []string
		outage bool
		is     error
		says   string
	}{
		{[]string{"  not enough free space, need 1 GB more (use --force to override this check or adjust annex.diskreserve)"}, false, syscall.ENOSPC, "not enough free space"},
		{[]string{"  /x/tmp/KEY: withBinaryFile: resource exhausted (No space left on device)"}, false, syscall.ENOSPC, "No space left"},
		{[]string{"  transfer already in progress, or unable to take transfer lock"}, true, errLocked, "transfer already in progress"},
		{[]string{"  download failed: Service Unavailable", "  Unable to access these remotes: web"}, true, nil, "Service Unavailable"},
		{[]string{"  HttpExceptionRequest Request {\n  host = \"127.0.0.1\"\n}\n (ConnectionFailure Network.Socket.connect: <socket: 12>: does not exist (Connection refused))"}, true, nil, "ConnectionFailure"},
		{[]string{"  download failed: Not Found", "from web..."}, false, nil, "Not Found"},
		{[]string{"  verification of content failed"}, false, nil, "verification of content failed"},
		{[]string{"", " \n"}, false, nil, "does not say why"},
		{nil, false, nil, "does not say why"},
	} {
		err := annexError(c.said)
		if source.IsOutage(err) != c.outage || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v, an outage: %v", c.said, err, source.IsOutage(err))
		}
	}
}

func TestNamesOfSpecialRemotes(t *testing.T) {
	for name, want := range map[string]bool{
		"s3-PUBLIC": true, "OpenNeuro": true, "ž": true, "": false, "origin": false, "-x": false, "a b": false, "a\nb": false, "a\x7f": false, strings.Repeat("a", 100): false,
	} {
		if isRemoteName(name) != want {
			t.Errorf("%q can be set up: %v", name, !want)
		}
	}
	if AnnexLacks("10.20230126") == "" || AnnexLacks(readsPublicURL) != "" || AnnexLacks("10.20250721") != "" || AnnexLacks("") != "" {
		t.Error("what a version of git-annex lacks")
	}
}
