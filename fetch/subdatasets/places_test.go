package subdatasets

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/candidates"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

// Places that have it not are passed over, in their order, and the commit is had also
// where it is on no branch.
func TestPlacesAreTriedInOrder(t *testing.T) {
	for name, isRewritten := range map[string]bool{"on a branch": false, "on no branch": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			s := serve(t, t.TempDir())
			commit := repository(t, filepath.Join(s.root, "lab", "super", "sub"), "right", isRewritten)
			repository(t, filepath.Join(s.root, "lab", "sub.git"), "another", false)
			set := b.set(b.parent(s.URL+"/lab/super"), b.options(module("sub", "url = ../sub.git", "datalad-url = "+s.URL+"/gone")))
			had, err := set.Clone(t.Context(), "sub", commit)
			if err != nil {
				t.Fatal(err)
			}
			if had.Clone.Commit != commit || readme(t, had) != "right" || had.From.Cost != 650 || had.From.Name != "origin" || had.From.URL != s.URL+"/lab/super/sub" {
				t.Errorf("%+v from %+v", had.Clone, had.From)
			}
			want := []string{s.URL + "/gone", s.URL + "/gone/.git", s.URL + "/lab/sub.git", s.URL + "/lab/sub.git/.git", s.URL + "/lab/super/sub"}
			if !slices.Equal(b.opened, want) {
				t.Errorf("asked for %q, want %q", b.opened, want)
			}
			if got := b.clones(); len(got) != 1 {
				t.Errorf("there are the clones %q", got)
			}
		})
	}
}

// A server that does not give single commits is asked for its branches.
func TestCommitWithinABranch(t *testing.T) {
	b := newBench(t)
	s := serve(t, t.TempDir())
	path := filepath.Join(s.root, "sub")
	commit := repository(t, path, "old", false)
	work := filepath.Join(t.TempDir(), "w")
	gittest.Run(t, s.root, "git", "clone", "-q", path, work)
	gittest.Run(t, work, "git", "commit", "-q", "--allow-empty", "-m", "newer")
	gittest.Run(t, work, "git", "push", "-q")
	gittest.Run(t, path, "git", "config", "uploadpack.allowAnySHA1InWant", "false")
	s.answer(func(w http.ResponseWriter, r *http.Request) bool { // version 2 gives all
		r.Header.Del("Git-Protocol")
		return false
	})
	had, err := b.set(b.parent(s.URL+"/super"), b.options(module("sub", "url = ../sub"))).Clone(t.Context(), "sub", commit)
	if err != nil || readme(t, had) != "old" {
		t.Errorf("%v, %v", had, err)
	}
}

// Where it is nowhere, the error says of every place why; and what cannot be is not
// asked.
func TestNoPlaceHasIt(t *testing.T) {
	b := newBench(t)
	s := serve(t, t.TempDir())
	repository(t, filepath.Join(s.root, "sub"), "another", false)
	o := b.options(module("sub", "url = ../sub", "datalad-url = https://alice:s3cret@github.com/store/6c9/a6b26"))
	o.Config = []byte("[datalad \"get\"]\n\tsubdataset-source-candidate-a = {none}\n\tsubdataset-source-candidate-b = ext::sh -c id\n\tsubdataset-source-candidate-100c = ssh://cluster/{path}\n")
	set := b.set(b.parent(s.URL+"/super"), o)
	had, err := set.Clone(t.Context(), "sub", nowhere)
	places := notHad(t, had, err, advice.NotFound)
	var got []string
	for _, p := range places {
		got = append(got, fmt.Sprint(p.Cost, " ", p.Name, " ", strings.TrimPrefix(p.URL, s.URL)))
	}
	want := []string{"0 a ", "100 c ssh://cluster/sub", "590 dl-url https://...@github.com/store/6c9/a6b26", "600 origin /sub", "600 origin /sub/.git", "650 origin /super/sub", "650 origin /super/sub/.git", "700 b ext::sh -c id"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if strings.Contains(err.Error(), "s3cret") || len(b.clones()) != 0 {
		t.Errorf("%v; there are the clones %q", err, b.clones())
	}
	// All that a server has is not brought for a commit that it has not.
	posts := 0
	for _, path := range s.requests() {
		if path == "/sub/git-upload-pack" {
			posts++
		}
	}
	if posts != 2 { // for its branches and tags, and for the commit
		t.Errorf("it was asked %d times", posts)
	}
	if all := set.Places("sub"); len(all) != len(want) || all[0].URL != s.URL+"/sub" || all[len(all)-1].Why == "" {
		t.Errorf("the places are %+v", all)
	}
}

// A server that cannot be reached is waited for once, and that it may come back is
// told.
func TestServerThatIsDown(t *testing.T) {
	b := newBench(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down := "http://" + l.Addr().String()
	l.Close()
	for name, parent := range map[string]string{"named": down + "/super", "not named": "https://127.0.0.1:1/super"} {
		o := b.options(module("sub", "url = "+down+"/a", "datalad-url = "+down+"/b"))
		o.AllowAddresses = []string{"127.0.0.1"}
		b.opened = nil
		set := b.set(b.parent(parent), o)
		set.parent.Remotes = []candidates.Remote{{Name: "origin", URL: down + "/super"}}
		had, err := set.Clone(t.Context(), "sub", nowhere)
		places := notHad(t, had, err, advice.Network)
		if !fetch.IsUnreached(err) || len(b.opened) != 1 || len(places) != 6 {
			t.Errorf("%s: %q were asked for: %v", name, b.opened, err)
		}
		for i, p := range places {
			if isSkipped := strings.HasPrefix(p.Why, "not asked"); isSkipped != (i > 0) {
				t.Errorf("%s: %+v", name, p)
			}
		}
	}
}
