package program

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
		w := &Words{Tell: func(p Progress) { told = append(told, fmt.Sprintf("%s %d/%d", p.Phase, p.Done, p.Total)) }}
		for rest := said; rest != ""; {
			n := min(piece, len(rest))
			w.Write([]byte(rest[:n]))
			rest = rest[n:]
		}
		want := []string{"Counting objects 1/12", "Counting objects 12/12", "Receiving objects 6/12", "Receiving objects 12/12", "Resolving deltas 3/3"}
		if !slices.Equal(told, want) {
			t.Errorf("in pieces of %d: %q", piece, told)
		}
		text := w.Text()
		if strings.Contains(text, "Receiving") || !strings.HasSuffix(text, "fatal: the remote end hung up unexpectedly\n") {
			t.Errorf("in pieces of %d it also said %q", piece, text)
		}
	}
}

// However much git says, only the end of it is kept.
func TestGitsWordsAreBounded(t *testing.T) {
	w := &Words{}
	for range 100 {
		w.Write([]byte(strings.Repeat("x", 100_000) + "\n"))
	}
	w.Write([]byte("fatal: at last\n"))
	if text := w.Text(); len(text) > 16<<10 || !strings.HasSuffix(text, "fatal: at last\n") {
		t.Errorf("%d bytes are kept", len(text))
	}
	full := 0
	b := &boundedBuffer{full: func() { full++ }}
	if n, err := b.Write(make([]byte, maxOutput)); n != maxOutput || err != nil || full != 0 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := b.Write([]byte("x")); !errors.Is(err, ErrTooMuch) || full != 1 {
		t.Errorf("more than enough: %v", err)
	}
}

// Git asks nobody, waits for nobody for ever, and knows no repository but the
// one that it is given.
func TestGitsSurroundings(t *testing.T) {
	t.Setenv("GIT_DIR", "/elsewhere")
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	g := Git{Env: []string{"GIT_INDEX_FILE=/x", "https_proxy=http://proxy:1", "GIT_SSH=/my/ssh", "GIT_HTTP_LOW_SPEED_TIME=5"}}
	last := make(map[string]string)
	for _, kv := range g.Environment() {
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
	if !has(Git{}.Environment(), "GIT_SSH_COMMAND") {
		t.Error("ssh may ask for a password")
	}
}

// A run of git ends with what it said, with ctx, or with its output.
func TestRunsOfGit(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	g := Git{Path: git}
	dir := t.TempDir()
	if out, err := g.Run(t.Context(), nil, "-C", dir, "init", "--quiet", "--bare"); err != nil || out != "" {
		t.Fatalf("%q, %v", out, err)
	}
	if out, err := g.Run(t.Context(), nil, "-C", dir, "rev-parse", "--is-bare-repository"); err != nil || out != "true\n" {
		t.Errorf("%q, %v", out, err)
	}
	_, err = g.Run(t.Context(), nil, "-C", dir, "rev-parse", "--verify", "nothing")
	if failed, ok := AsGitError(err); !ok || !strings.Contains(failed.Said, "Needed a single revision") || !strings.Contains(Said(err), "Needed a single revision") || !strings.Contains(err.Error(), "git -C") {
		t.Errorf("%v", err)
	}
	if got := Said(errors.New("else")); got != "else" {
		t.Errorf("an error of another kind is told as %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Run(ctx, nil, "-C", dir, "rev-parse", "--git-dir"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := (Git{Path: filepath.Join(dir, "none")}).Run(t.Context(), nil, "version"); err == nil {
		t.Error("a git that is not there runs")
	}
}
