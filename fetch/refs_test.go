package fetch

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
)

const (
	one   = "1111111111111111111111111111111111111111"
	two   = "2222222222222222222222222222222222222222"
	three = "3333333333333333333333333333333333333333"
)

// list is what git ls-remote --symref prints, line by line.
func list(lines ...string) string { return strings.Join(lines, "\n") + "\n" }

func TestRefsAreRead(t *testing.T) {
	for name, c := range map[string]struct{ out, head, annex string }{
		"GitHub": {list("ref: refs/heads/main\tHEAD", one+"\tHEAD", two+"\trefs/heads/git-annex", one+"\trefs/heads/main", three+"\trefs/pull/1/head", one+"\trefs/tags/1.0.0"),
			"refs/heads/main", "refs/heads/git-annex"},
		"another default branch": {list("ref: refs/heads/adina\tHEAD", one+"\tHEAD", one+"\trefs/heads/adina", two+"\trefs/heads/main"),
			"refs/heads/adina", ""},
		"of a clone": {list("ref: refs/heads/main\tHEAD", one+"\tHEAD", one+"\trefs/heads/main", two+"\trefs/remotes/origin/git-annex"),
			"refs/heads/main", "refs/remotes/origin/git-annex"},
		"an old server says no branch":     {list(one+"\tHEAD", two+"\trefs/heads/git-annex", one+"\trefs/heads/master"), "refs/heads/master", "refs/heads/git-annex"},
		"detached, at no branch":           {list(three+"\tHEAD", one+"\trefs/heads/main"), "HEAD", ""},
		"detached, at the git-annex one":   {list(two+"\tHEAD", two+"\trefs/heads/git-annex"), "HEAD", "refs/heads/git-annex"},
		"HEAD names a branch without file": {list("ref: refs/heads/gone\tHEAD", one+"\trefs/heads/main"), "", ""},
		"a peeled tag":                     {list(one+"\trefs/heads/main", two+"\trefs/tags/v1", one+"\trefs/tags/v1^{}"), "", ""},
		"among nonsense":                   {list("x", "", "\t", one+"\trefs/heads/../x y", "short\trefs/heads/a", one+"\t--upload-pack=x", one+"\trefs/heads/main"), "", ""},
	} {
		r, err := parseRefs(c.out)
		if err != nil || r.head != c.head || r.annexBranch() != c.annex {
			t.Errorf("%s: HEAD %q, git-annex %q, %v; want %q and %q", name, r.head, r.annexBranch(), err, c.head, c.annex)
		}
		for ref := range r.commit {
			if strings.HasPrefix(ref, "-") || strings.Contains(ref, " ") {
				t.Errorf("%s: the ref %q", name, ref)
			}
		}
	}
	for _, empty := range []string{"", "\n", list("ref: refs/heads/main\tHEAD")} {
		if r, err := parseRefs(empty); err == nil || !strings.Contains(err.Error(), "no branches") {
			t.Errorf("%q: %v, %v", empty, r, err)
		}
	}
}

func offer(head string, names ...string) refs {
	r := refs{head: head, commit: make(map[string]gitstore.OID)}
	for _, name := range names {
		r.commit[name] = one
	}
	return r
}

func TestVersionsAreChosen(t *testing.T) {
	many := []string{"refs/heads/a", "refs/heads/b", "refs/heads/git-annex"}
	for _, c := range []struct {
		offer        refs
		version, ref string
		says         string // of the error
	}{
		{offer("refs/heads/x", "refs/heads/x", "refs/heads/main"), "", "refs/heads/x", ""},
		{offer("", "refs/heads/x", "refs/heads/main"), "", "refs/heads/main", ""},
		{offer("", "refs/heads/x", "refs/heads/master"), "", "refs/heads/master", ""},
		{offer("", "refs/heads/x", "refs/heads/git-annex", "refs/heads/synced/main"), "", "refs/heads/x", ""},
		{offer("", many...), "", "", "several branches"},
		{offer("", "refs/heads/git-annex", "refs/tags/v1"), "", "", "no branch with files"},
		{offer("", "refs/tags/v1", "refs/heads/v1", "refs/remotes/origin/v1"), "v1", "refs/tags/v1", ""},
		{offer("", "refs/heads/v1", "refs/remotes/origin/v1"), "v1", "refs/heads/v1", ""},
		{offer("", "refs/remotes/origin/v1"), "v1", "refs/remotes/origin/v1", ""},
		{offer("", "refs/heads/main"), one, "", ""},
		{offer("", "refs/heads/main"), one[:7], "", ""},
		{offer("", "refs/heads/"+one, "refs/tags/"+one), one, "", ""},
		{offer("", "refs/heads/"+one, "refs/tags/"+one), strings.ToUpper(one), "", ""},
		{offer("", "refs/tags/abcdef1"), "abcdef1", "refs/tags/abcdef1", ""},
		{offer("", "refs/heads/main"), one[:6], "", "no version"},
		{offer("", "refs/heads/main"), "1.0.0", "", "no version"},
		{offer("", "refs/heads/main"), one + "1", "", "no version"},
	} {
		ref, err := c.offer.choose(c.version)
		var known *advice.Error
		switch {
		case c.says == "" && (err != nil || ref != c.ref):
			t.Errorf("version %q of %v: %q, %v; want %q", c.version, c.offer, ref, err, c.ref)
		case c.says != "" && (!errors.As(err, &known) || !strings.Contains(known.What, c.says)):
			t.Errorf("version %q of %v: %q, %v; want an error that says %q", c.version, c.offer, ref, err, c.says)
		}
	}
}

// An unknown version is told with those that there are, the latest first, and
// few of many.
func TestUnknownVersionsNameOthers(t *testing.T) {
	r := offer("", "refs/heads/main")
	for n := range 12 {
		r.commit[fmt.Sprintf("refs/tags/1.%02d", n)] = one
		r.commit[fmt.Sprintf("refs/tags/1.%02d^{}", n)] = one
	}
	_, err := r.choose("2.0")
	var known *advice.Error
	if !errors.As(err, &known) || known.Reason != advice.UnknownVersion || len(known.Do) != 1 || known.Do[0] != "its versions are: 1.11, 1.10, 1.09, 1.08, 1.07, 1.06, 1.05, 1.04, 1.03, 1.02, …" {
		t.Errorf("%v: %q", err, known.Do)
	}
	if _, err := offer("", "refs/heads/main").choose("2.0"); !errors.As(err, &known) || len(known.Do) != 0 {
		t.Errorf("without versions: %v, %q", err, known.Do)
	}
}

func TestWhichNamesAreRefs(t *testing.T) {
	for name, want := range map[string]bool{
		"HEAD": true, "refs/heads/main": true, "refs/tags/1.0.0^{}": true, "refs/heads/a/b": true, "refs/heads/ž": true,
		"": false, "main": false, "refs/": false, "--x": false, "refs/heads/a b": false, "refs/heads/a:b": false, "refs/heads/*": false, "refs/heads/a~1": false, "refs/heads/a^": false, `refs/heads/a\b`: false, "refs/heads/a\n": false,
		"refs/" + strings.Repeat("a", maxRef): false,
	} {
		if isRef(name) != want {
			t.Errorf("%q is a ref: %v", name, !want)
		}
	}
	for id, want := range map[string]bool{one: true, strings.Repeat("A", 40): false, one[:39]: false, one + "1": false, "": false} {
		if isID(id) != want {
			t.Errorf("%q is a commit: %v", id, !want)
		}
	}
	for theirs, want := range map[string]string{"refs/heads/a": "refs/heads/a", "refs/tags/a": "refs/tags/a", "refs/remotes/origin/a": "refs/heads/a", "HEAD": "refs/heads/detached"} {
		if got := ours(theirs); got != want {
			t.Errorf("%s is kept as %s, want %s", theirs, got, want)
		}
	}
	if got := offer("", "refs/remotes/origin/git-annex").annexRefspec(); fmt.Sprint(got) != "[+refs/remotes/origin/git-annex:refs/heads/git-annex]" {
		t.Errorf("the git-annex branch is fetched by %v", got)
	}
	if got := offer("", "refs/heads/main").annexRefspec(); got != nil {
		t.Errorf("a branch that is not there is fetched by %v", got)
	}
}
