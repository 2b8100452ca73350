package annex

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func checkURL(t *testing.T, s string) {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Fragment != "" {
		t.Errorf("not a URL to fetch: %q, %v", s, err)
		return
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		t.Errorf("bytes that do not belong into a URL: %q", s)
	}
}

var openNeuro = RemoteConfig{
	"type": "S3", "bucket": "openneuro.org", "fileprefix": "ds004712/", "host": "s3.amazonaws.com", "port": "80",
	"encryption": "none", "exporttree": "yes", "versioning": "yes", "public": "no",
	"publicurl": "https://s3.amazonaws.com/openneuro.org",
}

// with returns a copy of c with some values changed; an empty one is removed.
func with(c RemoteConfig, changes ...string) RemoteConfig {
	out := make(RemoteConfig)
	for k, v := range c {
		out[k] = v
	}
	for i := 0; i < len(changes); i += 2 {
		out[changes[i]] = changes[i+1]
		if changes[i+1] == "" {
			delete(out, changes[i])
		}
	}
	return out
}

func TestVersionedURLs(t *testing.T) {
	const u = "https://s3.amazonaws.com/openneuro.org/"
	for value, want := range map[string]string{
		"mQwn.Op_x-#ds004712/sub-14229/a.nii.gz": u + "ds004712/sub-14229/a.nii.gz?versionId=mQwn.Op_x-",
		"null#a":                                 u + "a?versionId=null",
		"v#a b+c%d#e?f&g=h:i;j":                  u + "a%20b%2Bc%25d%23e%3Ff%26g%3Dh%3Ai%3Bj?versionId=v",
		"v#\u00fc/\u65e5.nii":                    u + "%C3%BC/%E6%97%A5.nii?versionId=v",
		"v#\xff\n":                               u + "%FF%0A?versionId=v",
		"v#a//b":                                 u + "a//b?versionId=v",
		"v":                                      "",
		"v#":                                     "",
		"#a":                                     "",
		"":                                       "",
		"v w#a":                                  "",
		"v&x=y#a":                                "",
		"v\r\n#a":                                "",
		"v#../other/a":                           "",
		"v#a/./b":                                "",
		strings.Repeat("v", 3000) + "#a":         "",
	} {
		got := openNeuro.VersionedURLs([]string{value})
		if want == "" && len(got) != 0 || want != "" && !slices.Equal(got, []string{want}) {
			t.Errorf("%q gives %q, want %q", value, got, want)
		}
	}
	got := openNeuro.VersionedURLs([]string{"2#a", "bad", "1#a"})
	if !slices.Equal(got, []string{u + "a?versionId=2", u + "a?versionId=1"}) {
		t.Errorf("order: %q", got)
	}
}

func TestBaseURLs(t *testing.T) {
	own := with(openNeuro, "publicurl", "")
	for name, c := range map[string]struct {
		config RemoteConfig
		want   string // of the object "a" in version "v"; "" for none
	}{
		"slash at the end": {with(openNeuro, "publicurl", "https://h/b/"), "https://h/b/a?versionId=v"},
		"private":          {own, ""},
		"public, dots":     {with(own, "public", "yes"), "https://s3.amazonaws.com/openneuro.org/a?versionId=v"},
		"public":           {with(own, "public", "yes", "bucket", "Bids"), "https://bids.s3.amazonaws.com/a?versionId=v"},
		"anonymous":        {with(own, "signature", "anonymous", "bucket", "b", "host", ""), "https://b.s3.amazonaws.com/a?versionId=v"},
		"other host":       {with(own, "public", "yes", "bucket", "b", "host", "minio.lab", "port", "9000"), "http://b.minio.lab:9000/a?versionId=v"},
		"other host, path": {with(own, "public", "yes", "bucket", "b", "host", "minio.lab", "requeststyle", "path", "protocol", "https"), "https://minio.lab/b/a?versionId=v"},
		"other host, 443":  {with(own, "public", "yes", "bucket", "b", "host", "minio.lab", "port", "443"), "https://b.minio.lab/a?versionId=v"},
		"archive.org":      {with(own, "public", "yes", "bucket", "b", "host", "s3.us.archive.org"), "https://archive.org/download/b/a?versionId=v"},
		"odd bucket":       {with(own, "public", "yes", "bucket", "b@evil"), ""},
		"encrypted":        {with(openNeuro, "encryption", "shared"), ""},
		"chunked":          {with(openNeuro, "chunk", "1MiB"), ""},
		"file":             {with(openNeuro, "publicurl", "file:///etc"), ""},
		"no host":          {with(openNeuro, "publicurl", "https:///x"), ""},
		"with a query":     {with(openNeuro, "publicurl", "https://h/?x="), ""},
		"not S3":           {with(openNeuro, "type", "directory"), ""},
		"empty":            {RemoteConfig{}, ""},
	} {
		got := c.config.VersionedURLs([]string{"v#a"})
		if c.want == "" && len(got) != 0 || c.want != "" && !slices.Equal(got, []string{c.want}) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestExportURL(t *testing.T) {
	const path = "sub-01/anat/a b.nii"
	httpalso := RemoteConfig{"type": "httpalso", "url": "http://h/x", "exporttree": "yes", "fileprefix": "ignored/"}
	for want, c := range map[string]RemoteConfig{
		"https://s3.amazonaws.com/openneuro.org/ds004712/sub-01/anat/a%20b.nii": openNeuro,
		"https://s3.amazonaws.com/openneuro.org/p-sub-01/anat/a%20b.nii":        with(openNeuro, "fileprefix", "p-", "exporttree", "", "importtree", "yes"),
		"http://h/x/sub-01/anat/a%20b.nii":                                      httpalso,
	} {
		if got, ok := c.ExportURL(path); !ok || got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for _, c := range []RemoteConfig{with(openNeuro, "exporttree", ""), with(openNeuro, "exporttree", "no"), with(httpalso, "url", ""), {}} {
		if got, ok := c.ExportURL(path); ok {
			t.Errorf("%v gives %q", c, got)
		}
	}
	for _, path := range []string{"", ".", "../a", "a/../b"} {
		if got, ok := openNeuro.ExportURL(path); ok {
			t.Errorf("path %q gives %q", path, got)
		}
	}
}

func TestKeyURLs(t *testing.T) {
	k, err := ParseKey("MD5E-s1--../../x")
	if err != nil {
		t.Fatal(err)
	}
	s3 := with(openNeuro, "exporttree", "", "versioning", "")
	plain, err := ParseKey("URL--http://a/b")
	if err != nil {
		t.Fatal(err)
	}
	if got := s3.KeyURLs(plain); !slices.Equal(got, []string{"https://s3.amazonaws.com/openneuro.org/ds004712/URL--http%3A//a/b"}) {
		t.Errorf("S3: %q", got)
	}
	if got := s3.KeyURLs(k); got != nil {
		t.Errorf("S3, a key with \"..\": %q", got)
	}
	got := RemoteConfig{"type": "httpalso", "url": "http://h/x/"}.KeyURLs(k)
	if len(got) != 7 || got[0] != "http://h/x/60e/01e/MD5E-s1--..%25..%25x/MD5E-s1--..%25..%25x" || got[2] != "http://h/x/MD5E-s1--..%25..%25x" {
		t.Errorf("httpalso: %q", got)
	}
	if got := openNeuro.KeyURLs(plain); got != nil {
		t.Errorf("a tree: %q", got)
	}
}

// TestURLsAgreeWithGitAnnex writes a git-annex branch and lets git-annex say
// where the content is.
func TestURLsAgreeWithGitAnnex(t *testing.T) {
	repo, programs := oracles(t)
	const uuid = "e1cb00a7-939f-4e1e-99c6-9f3d745dee97"
	const key = "MD5E-s3--900150983cd24fb0d6963f7d28e17f72.nii"
	remotes := uuid + " name=pub autoenable=true bucket=openneuro.org datacenter=US encryption=none exporttree=yes fileprefix=ds/ " +
		"host=s3.amazonaws.com partsize=1GiB port=80 public=yes publicurl=https://s3.example.org/openneuro.org storageclass=STANDARD type=S3 versioning=yes timestamp=1s\n"
	rmet := "3s " + uuid + ":V +three#ds/sub-01/a.nii\n1s " + uuid + ":V +one#ds/a+b%c#d?e&f +!" +
		base64.StdEncoding.EncodeToString([]byte("two.2_2-#ds/\u00fc \u65e5.nii")) + " +gone#ds/x\n2s " + uuid + ":V -gone#ds/x\n"
	k, err := ParseKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writeBranch(t, repo, map[string]string{
		"remote.log":                          remotes,
		"uuid.log":                            uuid + " pub timestamp=1s\n",
		k.HashDirLower() + "/" + key + ".log": "1s 1 " + uuid + "\n",
		k.HashDirLower() + "/" + key + ".log.rmet": rmet,
	})
	run(t, repo, "git", "config", "remote.pub.annex-uuid", uuid)
	run(t, repo, "git", "config", "remote.pub.annex-s3", "true")
	want := ParseRemoteLog([]byte(remotes))[uuid].VersionedURLs(ParseRemoteMetadata([]byte(rmet))[uuid])
	if len(want) != 3 {
		t.Fatalf("we say: %q", want)
	}
	slices.Sort(want)
	for _, p := range programs {
		var answer struct{ Whereis []struct{ URLs []string } }
		if err := json.Unmarshal([]byte(run(t, repo, p, "whereis", "--json", "--key="+key)), &answer); err != nil || len(answer.Whereis) != 1 {
			t.Fatalf("%s: %v %v", p, answer, err)
		}
		got := answer.Whereis[0].URLs
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s says\n%q\nwe say\n%q", p, got, want)
		}
	}
}

// writeBranch makes the git-annex branch consist of these files and its own.
func writeBranch(t *testing.T, repo string, files map[string]string) {
	t.Helper()
	index := filepath.Join(t.TempDir(), "index")
	t.Setenv("GIT_INDEX_FILE", index)
	run(t, repo, "git", "read-tree", "refs/heads/git-annex")
	for name, content := range files {
		file := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		id := strings.TrimSpace(run(t, repo, "git", "hash-object", "-w", "--no-filters", file))
		run(t, repo, "git", "update-index", "--add", "--cacheinfo", "100644,"+id+","+name)
	}
	tree := strings.TrimSpace(run(t, repo, "git", "write-tree"))
	commit := strings.TrimSpace(run(t, repo, "git", "commit-tree", "-p", "refs/heads/git-annex", "-m", "update", tree))
	run(t, repo, "git", "update-ref", "refs/heads/git-annex", commit)
	os.Unsetenv("GIT_INDEX_FILE")
	os.Remove(filepath.Join(repo, ".git", "annex", "index"))
}

func TestGitURL(t *testing.T) {
	for location, want := range map[string]bool{
		"https://example.org/a/b": true, "http://example.org/a.git": true,
		"ssh://example.org/a": false, "git@example.org:a": false, "/data/a": false, "file:///data/a": false, "ext::sh": false, "https://example.org/?a": false, "": false,
	} {
		c := RemoteConfig{"type": "git", "name": "x", "location": location}
		if got, ok := c.GitURL(); ok != want || ok && got != location {
			t.Errorf("%q: %q, %v", location, got, ok)
		}
		if _, ok := with(c, "type", "directory").GitURL(); ok {
			t.Errorf("%q is a repository of another type", location)
		}
	}
}
