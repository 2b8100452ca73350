package fetch

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/remedy"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/plain"
)

// refs are what a repository offers.
type refs struct {
	head   string // the branch that HEAD names, "" when it names nothing there
	commit map[string]gitstore.OID
}

// hexCommit is a full or shortened commit id.
var hexCommit = regexp.MustCompile(`^[0-9a-fA-F]{7,40}$`)

// isID reports whether s is a full commit id.
func isID(s string) bool { return len(s) == 40 && strings.Trim(s, "0123456789abcdef") == "" }

// isRef reports whether s is HEAD or the name of a ref that can stand in a
// refspec. The mark of a peeled tag may follow.
func isRef(s string) bool {
	name, isBelow := strings.CutPrefix(s, "refs/")
	name = strings.TrimSuffix(name, "^{}")
	bad := strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`:?*[\^~`, r) })
	return s == "HEAD" || isBelow && name != "" && !bad && len(s) <= maxRef
}

// maxRef is the length in bytes of the longest name of a ref.
const maxRef = 1024

// choose returns the ref of a version, or that it is a commit id.
func (r refs) choose(version string) (ref string, err error) {
	if version == "" {
		return r.defaultBranch()
	}
	if isID(strings.ToLower(version)) {
		return "", nil // also where a branch is called so: it may be at another commit
	}
	for _, ref := range []string{"refs/tags/" + version, "refs/heads/" + version, "refs/remotes/origin/" + version} {
		if _, ok := r.commit[ref]; ok {
			return ref, nil
		}
	}
	if hexCommit.MatchString(version) {
		return "", nil
	}
	return "", r.unknownVersion(version)
}

func (r refs) unknownVersion(version string) error {
	e := &advice.Error{Kind: advice.Unreachable, Reason: advice.UnknownVersion, What: fmt.Sprintf("the dataset has no version %.200q", version)}
	if tags := r.names("refs/tags/"); len(tags) > 0 {
		slices.Reverse(tags)
		e.Do = []string{"its versions are: " + some(tags)}
	}
	return e
}

// some lists the first few of a dataset's names.
func some(names []string) string {
	const most = 10
	text := plain.Short(strings.Join(names[:min(len(names), most)], ", "), remedy.MaxSaid)
	if len(names) > most {
		text += ", …"
	}
	return text
}

// defaultBranch is HEAD's, or else main, master, or the only one.
func (r refs) defaultBranch() (string, error) {
	if r.head != "" {
		return r.head, nil
	}
	for _, b := range []string{"refs/heads/main", "refs/heads/master"} {
		if _, ok := r.commit[b]; ok {
			return b, nil
		}
	}
	var branches []string
	for _, b := range r.names("refs/heads/") {
		if b != "git-annex" && !strings.HasPrefix(b, "synced/") {
			branches = append(branches, b)
		}
	}
	switch len(branches) {
	case 1:
		return "refs/heads/" + branches[0], nil
	case 0:
		return "", &advice.Error{Kind: advice.Unreachable, Reason: advice.NotRepository, What: "the dataset has no branch with files", Do: []string{"give a --version, if it has one"}}
	}
	return "", &advice.Error{Kind: advice.Unreachable, Reason: advice.UnknownVersion, What: "the dataset has several branches, and none of them is its main one", Do: []string{"choose one with --version: " + some(branches)}}
}

// annexBranch returns the ref of the git-annex branch, or "".
func (r refs) annexBranch() string {
	for _, b := range []string{"refs/heads/git-annex", "refs/remotes/origin/git-annex"} {
		if _, ok := r.commit[b]; ok {
			return b
		}
	}
	return ""
}

// annexRefspec fetches the git-annex branch, if there is one.
func (r refs) annexRefspec() []string {
	if b := r.annexBranch(); b != "" {
		return []string{"+" + b + ":" + annexRef}
	}
	return nil
}

func (r refs) names(prefix string) (names []string) {
	for ref := range r.commit {
		if name, ok := strings.CutPrefix(ref, prefix); ok && !strings.HasSuffix(name, "^{}") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
