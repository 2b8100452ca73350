package subdatasets

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

// superHere makes a repository with a work tree, and subdatasets that are not
// installed.
func superHere(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(dir, "super")
	gittest.Run(t, filepath.Dir(dir), "git", "init", "-q", "-b", "main", dir)
	return dir
}

// Of a repository on this machine, what is installed is read where it is; what is not
// comes from where its remotes lead, first the one that its branch follows.
func TestParentOnThisMachine(t *testing.T) {
	b := newBench(t)
	s := serve(t, t.TempDir())
	dir := superHere(t)
	installed := repository(t, filepath.Join(s.root, "a"), "installed", false)
	absent := repository(t, filepath.Join(s.root, "lab", "b"), "absent", false)
	gittest.Run(t, dir, "git", "clone", "-q", s.URL+"/a", "a")
	gittest.Run(t, dir, "git", "config", "remote.other.url", "https://127.0.0.1:1/none/super")
	gittest.Run(t, dir, "git", "config", "remote.mine.url", s.byName()+"/lab/super")
	gittest.Run(t, dir, "git", "config", "branch.main.remote", "mine")
	s.requests()
	o := b.options(module("a", "url = https://127.0.0.1:1/a") + module("b", "url = ../b"))
	o.AllowAddresses = []string{"127.0.0.1", "::1"}
	for _, parent := range []string{dir, dir + "/.git"} {
		set := b.set(b.parent(parent), o)
		had, err := set.Clone(t.Context(), "a", installed)
		if err != nil || readme(t, had) != "installed" || had.From.Name != "installed" || !had.Clone.Local() || len(s.requests()) != 0 {
			t.Fatalf("%s: %v, %v", parent, had, err)
		}
		if had, err = set.Clone(t.Context(), "b", absent); err != nil || readme(t, had) != "absent" || had.From.Name != "mine" || had.From.URL != s.byName()+"/lab/b" {
			t.Errorf("%s: %v, %v", parent, had, err)
		}
		s.requests()
		if all := set.Places("b"); all[0].Name != "installed" || all[1].Name != "mine" {
			t.Errorf("the places are %+v", all)
		}
	}
	// Its settings are a dataset's word: they lead to no address that is not public.
	o.AllowAddresses = nil
	gone, err := b.set(b.parent(dir), o).Clone(t.Context(), "b", nowhere)
	if gone != nil || err == nil || !strings.Contains(err.Error(), "address is not allowed") {
		t.Errorf("%v, %v", gone, err)
	}
}

// Nothing leads out of the repository that was named: no path, no link, and none of
// git's.
func TestNothingLeadsOutOfTheParent(t *testing.T) {
	b := newBench(t)
	dir := superHere(t)
	outside := filepath.Join(filepath.Dir(dir), "private")
	commit := repository(t, outside, "private", false)
	if err := os.MkdirAll(filepath.Join(dir, "gitfile"), 0o700); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"link": outside, "up": "..", "gitlink": dir + "/gitfile"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "gitfile", ".git"), []byte("gitdir: "+outside+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// A work tree outside, whose repository is inside.
	elsewhere, inside := filepath.Join(filepath.Dir(dir), "elsewhere"), filepath.Join(dir, ".git", "modules", "other")
	repository(t, inside, "private", false)
	if err := os.Mkdir(elsewhere, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(elsewhere, ".git"), []byte("gitdir: "+inside+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(dir, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "dotgit"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "dotgit", ".git")); err != nil {
		t.Fatal(err)
	}
	for path, url := range map[string]string{
		"sub": outside, "sub2": "../private", "sub3": "./link", "sub4": "up/private", "sub5": "file://" + outside, "sub6": "./gitfile", "sub7": "./gitlink", "sub8": "ria+file://" + filepath.Dir(dir) + "#~private", "sub9": "./dotgit",
		"link": "./x", "elsewhere": "./x", "gitfile": "./x", "up/private": "./x", "dotgit": "./x", "empty": "./gitfile/..",
	} {
		set := b.set(b.parent(dir), b.options(module(path, "url = "+url, "datalad-url = "+url)))
		had, err := set.Clone(t.Context(), path, commit)
		notHad(t, had, err, advice.NotFound)
	}
	for _, url := range b.opened {
		if url != dir {
			t.Errorf("asked for %q", b.opened)
		}
	}
	// The same below is fine, also by links and git's own.
	inside = filepath.Join(dir, ".git", "modules", "sub")
	commit = repository(t, inside, "inside", false)
	if err := os.WriteFile(filepath.Join(dir, "gitfile", ".git"), []byte("gitdir: ../.git/modules/sub\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"gitfile", "gitlink"} {
		if had, err := b.set(b.parent(dir), b.options(module(path, "url = ./x"))).Clone(t.Context(), path, commit); err != nil || readme(t, had) != "inside" {
			t.Errorf("%s: %v, %v", path, had, err)
		}
	}
}

// A dataset in a RIA store has its subdatasets there, by their ids; so have theirs.
func TestParentInAStore(t *testing.T) {
	b := newBench(t)
	s := serve(t, t.TempDir())
	ids := []string{"6c9a6b26-6a5c-4e0c-9d0b-5f3a3d0ef1f8", "0a1b2c3d-6a5c-4e0c-9d0b-5f3a3d0ef1f8", "ffff6b26-6a5c-4e0c-9d0b-5f3a3d0ef1f8"}
	at := func(id string) string { return filepath.Join(s.root, "store", id[:3], id[3:]) }
	super := repository(t, at(ids[0]), "super", false)
	gittest.Run(t, at(ids[0]), "git", "tag", "1.0")
	newer := gitstore.OID(strings.TrimSpace(gittest.Run(t, at(ids[0]), "git", "commit-tree", "-p", "main", "-m", "newer", "main^{tree}")))
	gittest.Run(t, at(ids[0]), "git", "update-ref", "refs/heads/main", string(newer))
	sub := repository(t, at(ids[1]), "sub", false)
	lower := repository(t, at(ids[2]), "lower", false)
	if err := os.MkdirAll(filepath.Join(s.root, "store", "alias"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../"+ids[0][:3]+"/"+ids[0][3:], filepath.Join(s.root, "store", "alias", "super")); err != nil {
		t.Fatal(err)
	}
	for _, named := range []string{"ria+file://" + s.root + "/store#" + ids[0] + "@1.0", "ria+file://" + s.root + "/store#~super@1.0", "ria+" + s.URL + "/store#~super@1.0", "ria+" + s.URL + "/store#" + ids[0] + "@main"} {
		spec, err := fetch.ParseSpec(named, "")
		if err != nil {
			t.Fatal(err)
		}
		parent, err := b.open(t.Context(), spec, "", fetch.CloneOptions{Git: fetch.FindGit()})
		if err != nil {
			t.Fatalf("%s: %v", named, err)
		}
		if want := map[bool]gitstore.OID{true: super, false: newer}[strings.HasSuffix(named, "@1.0")]; parent.Commit != want {
			t.Errorf("%s is %s, want %s", named, parent.Commit, want)
		}
		set := b.set(parent, b.options(module("sub", "url = ./sub", "datalad-id = "+ids[1])))
		had, err := set.Clone(t.Context(), "sub", sub)
		if err != nil || readme(t, had) != "sub" || had.From.Cost != 200 || had.From.Name != "origin" {
			t.Fatalf("%s: %v, %v", named, had, err)
		}
		o := b.options(module("lower", "url = ./lower", "datalad-id = "+ids[2]))
		o.Within = had
		if had, err = b.set(had.Clone, o).Clone(t.Context(), "lower", lower); err != nil || readme(t, had) != "lower" {
			t.Errorf("%s: %v, %v", named, had, err)
		}
	}
	if _, err := fetch.ParseSpec("ria+file://"+s.root+"/store#~none", ""); err == nil {
		t.Error("a name that is not there is one")
	}
	// By a link and by the id of a directory it is one clone; a URL says less.
	if got := b.clones(); len(got) != 3+4 {
		t.Errorf("there are the clones %q", got)
	}
}

// The user's own templates lead where the user says, before all others, to servers and
// directories too; a dataset's own do not.
func TestTemplatesOfTheUser(t *testing.T) {
	b := newBench(t)
	s := serve(t, t.TempDir())
	commit := repository(t, filepath.Join(s.root, "mirror", "sub"), "mirror", false)
	parent := b.parent("https://127.0.0.1:1/super")
	const key = "datalad.get.subdataset-source-candidate-100mine"
	for name, template := range map[string]string{"server": s.URL + "/mirror/{path_basename}", "directory": "file://" + s.root + "/mirror/{path}"} {
		o := b.options(module("sub", "url = ../sub"))
		for place, set := range map[string]func(){
			"git's environment": func() {
				o.Clone.Env = []string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=" + key, "GIT_CONFIG_VALUE_0=" + template}
			},
			"DataLad's environment": func() { o.Clone.Env = []string{"DATALAD_GET_SUBDATASET__SOURCE__CANDIDATE__100MINE=" + template} },
			"git's configuration":   func() { gittest.Run(t, b.t.TempDir(), "git", "config", "--global", key, template) },
		} {
			o.Clone.Env = nil
			set()
			had, err := b.set(parent, o).Clone(t.Context(), "sub", commit)
			if err != nil || readme(t, had) != "mirror" || had.From.Name != "mine" || had.From.Cost != 100 {
				t.Errorf("%s, %s: %v, %v", name, place, had, err)
			}
			os.Remove(filepath.Join(os.Getenv("HOME"), ".gitconfig"))
		}
		o.Clone.Env = nil
		o.Config = []byte("[datalad \"get\"]\n\tsubdataset-source-candidate-100mine = \"" + template + "\"\n")
		had, err := b.set(parent, o).Clone(t.Context(), "sub", nowhere)
		if places := new(NotHad); had != nil || !errors.As(err, &places) || !slices.ContainsFunc(places.Places, func(p Place) bool {
			return p.Name == "mine" && (strings.Contains(p.Why, "address is not allowed") || strings.Contains(p.Why, "outside"))
		}) {
			t.Errorf("%s, a dataset's: %v, %v", name, had, err)
		}
	}
}
