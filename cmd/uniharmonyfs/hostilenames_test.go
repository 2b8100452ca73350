package main_test

import (
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A key is a name that a stranger chose: none leads out of the cache, or of
// what a download writes.
func TestKeysThatLookLikePaths(t *testing.T) {
	u := newUser(t)
	u.env = []string{"GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.org", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.org"}
	evil := plainRepository(t, u, "evil")
	annexInit(t, evil)
	for i, key := range []string{"MD5E-s3--../../../../../stolen", "MD5E-s3--" + strings.Repeat("../", 30) + "etc/stolen", "XFOO-s3--stolen", "MD5-s3--stolen", "SHA256E-s3--00.nii", "MD5E-s3--d41d8cd98f00b204e9800998ecf8427e/../../stolen"} {
		name := filepath.Join(evil, "sub-01/anat", "sub-01_run-"+string(rune('1'+i))+"_T1w.nii")
		write(t, name, "/annex/objects/"+key+"\n")
	}
	git(t, "-C", evil, "-c", "filter.annex.clean=cat", "-c", "filter.annex.process=", "add", ".")
	git(t, "-C", evil, "-c", "filter.annex.clean=cat", "-c", "filter.annex.process=", "commit", "--quiet", "-m", "keys")
	u.must("mount", "--dataset", evil, u.path("mnt"))
	args := []string{"--dataset", evil, "--timeout", "1s", "--include", "sub-01/**"}
	for _, mode := range [][]string{{"get"}, {"get", "--direct"}} {
		if r := u.run(append(append(mode, args...), u.path("target"+mode[len(mode)-1]))...); r.code == 2 {
			t.Errorf("%v: %s", mode, r.errout)
		}
	}
	for _, root := range []string{u.dir, "/etc", "/"} {
		filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Name() == "stolen" {
				t.Errorf("there is %s", path)
			}
			if err != nil || root != u.dir && path != root && e.IsDir() || path == u.path("mnt") {
				return fs.SkipDir
			}
			return nil
		})
	}
}

// Subdatasets are directories, and nothing is fetched from where their
// addresses say; attributes and hooks of a dataset run nothing.
func TestSubmodulesAreNotFetched(t *testing.T) {
	u := newUser(t)
	u.env = []string{"GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.org", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.org"}
	evil, mark := plainRepository(t, u, "evil"), u.path("mark")
	commit := strings.TrimSpace(git(t, "-C", evil, "rev-parse", "HEAD"))
	write(t, filepath.Join(evil, ".gitmodules"), `[submodule "a"]
	path = sourcedata
	url = "ext::sh -c touch% `+mark+`"
[submodule "b"]
	path = sub-03
	url = "--upload-pack=touch `+mark+`"
	update = "!touch `+mark+`"
`)
	write(t, filepath.Join(evil, ".gitattributes"), "* filter=evil\n*.json diff=evil merge=evil\n")
	write(t, filepath.Join(evil, "hooks/post-checkout"), "#!/bin/sh\ntouch "+mark+"\n")
	os.Chmod(filepath.Join(evil, "hooks/post-checkout"), 0o755)
	git(t, "-C", evil, "add", ".")
	git(t, "-C", evil, "update-index", "--add", "--cacheinfo", "160000,"+commit+",sourcedata", "--cacheinfo", "160000,"+commit+",sub-03")
	git(t, "-C", evil, "commit", "--quiet", "-m", "modules")
	u.must("mount", "--sourcedata", "--dataset", evil, u.path("mnt"))
	u.must("get", "--sourcedata", "--dataset", evil, u.path("target"))
	u.must("get", "--direct", "--dataset", evil, u.path("direct"))
	touched(t, mark)
	for _, root := range []string{"mnt", "direct"} {
		if list, err := os.ReadDir(filepath.Join(u.path(root), "sub-03")); len(list) > 0 {
			t.Errorf("the subdataset in %s: %v, %v", root, list, err)
		}
		if got, err := os.ReadFile(filepath.Join(u.path(root), "README")); string(got) != "plain\n" {
			t.Errorf("README of %s: %q, %v", root, got, err)
		}
	}
}

// Paths that a request names are paths inside a mount, whatever they look like.
func TestPathsStayInsideTheMount(t *testing.T) {
	u := newUser(t)
	repo := plainRepository(t, u, "repo")
	u.must("mount", "--dataset", repo, u.path("mnt"))
	client := u.socket()
	defer client.CloseIdleConnections()
	mnt := u.path("mnt")
	before := snapshotOf(t, filepath.Join(repo))
	for _, path := range []string{"", "/", "/etc/passwd", "etc", mnt + "/../repo/README", mnt + "/sub-01/../../repo/README", mnt + "/README\x00", mnt + "/./README", mnt + "//README", mnt + "/../mnt2", mnt + "x/README", "../mnt/README"} {
		for _, do := range []string{"pin", "evict", "prefetch", "verify", "unpin"} {
			body, _ := json.Marshal(map[string]any{"do": do, "selection": map[string]any{}, "paths": []string{path}})
			res, err := client.Post("http://daemon/v1/files", "application/json", strings.NewReader(string(body)))
			if err != nil {
				t.Fatal(err)
			}
			said, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if !strings.Contains(string(said), `"fault"`) {
				t.Errorf("%s %q: %s", do, path, said)
			}
		}
	}
	if snapshotOf(t, repo) != before {
		t.Error("the repository was changed")
	}
	u.must("verify", mnt+"/README")
}

// socket speaks to the user's daemon as any program may.
func (u *user) socket() http.Client {
	return http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(u.cache, "daemon.sock"))
	}}}
}
