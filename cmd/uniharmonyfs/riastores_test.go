package main_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// riaStore unpacks a RIA store as DataLad makes it. It returns its directory, and of
// each dataset by its alias what its files are: SHA-256 by path.
func riaStore(t testing.TB, u *user) (dir string, sums map[string]map[string]string) {
	t.Helper()
	packed, err := filepath.Abs("../../fetch/testdata/ria/stores.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-C", u.dir, "-xzf", packed).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	list, err := os.ReadFile(u.path("SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	sums = make(map[string]map[string]string)
	for line := range strings.Lines(string(list)) {
		sum, path, _ := strings.Cut(strings.TrimSpace(line), "  ")
		name, path, _ := strings.Cut(path, "/")
		if sums[name] == nil {
			sums[name] = make(map[string]string)
		}
		if !strings.HasPrefix(path, ".") { // those are not part of a view
			sums[name][path] = sum
		}
	}
	return u.path("store"), sums
}

// sumsBelow returns what the files of a directory are.
func sumsBelow(t testing.TB, dir string) map[string]string {
	t.Helper()
	sums := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if strings.HasPrefix(name, ".") {
			return nil
		}
		content, err := os.ReadFile(path)
		sum := sha256.Sum256(content)
		sums[name] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return sums
}

func sameSums(t testing.TB, got, want map[string]string) {
	t.Helper()
	for path, sum := range want {
		if got[path] != sum {
			t.Errorf("%s is not what it should be: %q", path, got[path])
		}
	}
	if len(got) != len(want) || len(want) == 0 {
		t.Errorf("%d files, not %d", len(got), len(want))
	}
}

func serveFiles(t testing.TB, dir string) string {
	t.Helper()
	s := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(s.Close)
	return s.URL
}

// Datasets in a RIA store are mounted by the URL, the alias' URL or the path that they
// have there, and every byte is read, without git-annex: of objects, of archives beside
// them, and of archives that are content themselves, also one in the other.
func TestDatasetsInRIAStores(t *testing.T) {
	u := newUser(t)
	dir, sums := riaStore(t, u)
	url := serveFiles(t, dir)
	for name, want := range sums {
		repository, err := filepath.EvalSymlinks(filepath.Join(dir, "alias", name))
		if err != nil {
			t.Fatal(err)
		}
		below, _ := filepath.Rel(dir, repository)
		for _, at := range []string{url + "/" + below, url + "/alias/" + name, repository} {
			u.must("mount", "--dataset", at, "--fetcher", "native", u.path("mnt"))
			sameSums(t, sumsBelow(t, u.path("mnt")), want)
			u.must("unmount", "--clean", u.path("mnt"))
		}
		u.must("get", "--dataset", url+"/"+below, u.path("got-"+name))
		sameSums(t, sumsBelow(t, u.path("got-"+name)), want)
	}
	if len(sums) != 3 {
		t.Errorf("there were %d datasets", len(sums))
	}
}

// An archive that was brought for a file in it belongs to the dataset, and goes with
// it, not with one of its mounts.
func TestArchivesBelongToTheirDataset(t *testing.T) {
	u := newUser(t)
	dir, sums := riaStore(t, u)
	url := serveFiles(t, dir)
	u.must("mount", "--dataset", url+"/alias/stored", u.path("other"))
	u.must("mount", "--dataset", url+"/alias/nested", u.path("mnt"))
	sameSums(t, sumsBelow(t, u.path("mnt")), sums["nested"])
	u.must("unmount", "--clean", u.path("mnt"))
	if s := u.status(); s.Store.Objects != 2 {
		t.Errorf("%d objects are left, not the two archives", s.Store.Objects)
	}
	names, _ := filepath.Glob(filepath.Join(u.cache, "datasets", "nested-*"))
	if len(names) != 1 {
		t.Fatalf("the hidden clones are %v", names)
	}
	u.must("clean", filepath.Base(names[0]))
	if s := u.status(); s.Store.Objects != 0 {
		t.Errorf("%d objects are left after the dataset went", s.Store.Objects)
	}
}

// What is not in the store any more is an error that names the places that were asked,
// and why another was not.
func TestWhatARIAStoreDoesNotHave(t *testing.T) {
	u := newUser(t)
	dir, sums := riaStore(t, u)
	repository := filepath.Join(dir, "alias", "stored")
	url := serveFiles(t, dir) + "/alias/stored"
	u.must("mount", "--dataset", url, "--fetcher", "native", u.path("mnt"))
	if err := os.Remove(filepath.Join(repository, "archives", "archive.7z")); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(u.path("mnt"), "sub-01", "anat", "sub-01_T1w.nii.gz")
	if _, err := os.ReadFile(image); err == nil {
		t.Error("what is nowhere was read")
	}
	out := u.must("status", image)
	for _, says := range []string{url + ": the server says 404 Not Found (annex/objects/", "archives/archive.7z", "the store file:///", "not followed to this machine's files"} {
		if !strings.Contains(out, says) {
			t.Errorf("status does not say %q:\n%s", says, out)
		}
	}
	other := "sub-02/anat/sub-02_T1w.nii.gz"
	content, err := os.ReadFile(filepath.Join(u.path("mnt"), other))
	if sum := sha256.Sum256(content); err != nil || hex.EncodeToString(sum[:]) != sums["stored"][other] {
		t.Errorf("another file is disturbed: %v", err)
	}
}

// A store that DataLad makes now is read as the one that is kept here.
func TestRIAStoreOfDataLad(t *testing.T) {
	u := newUser(t)
	bin := os.Getenv("UNIHARMONYFS_TEST_NEW_ANNEX")
	if _, err := os.Stat(filepath.Join(bin, "datalad")); bin == "" || err != nil {
		t.Skip("without datalad: UNIHARMONYFS_TEST_NEW_ANNEX names no directory with it")
	}
	in := func(dir string, args ...string) {
		t.Helper()
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "HOME="+u.dir,
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org")
		if args[0] == "datalad" {
			cmd.Path = filepath.Join(bin, "datalad")
			cmd.Err = nil
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	ds, store := u.path("ds"), u.path("store")
	in(u.dir, "datalad", "create", ds)
	write(t, filepath.Join(ds, "dataset_description.json"), `{"Name": "ds", "BIDSVersion": "1.9.0"}`)
	for i, name := range []string{"sub-01/anat/sub-01_T1w.nii.gz", "sub-02/anat/sub-02_T1w.nii.gz"} {
		write(t, filepath.Join(ds, name), string(bytes.Repeat([]byte{byte('a' + i), 0, 255, '\n'}, 100_000)))
	}
	in(ds, "datalad", "save", "-m", "all")
	want := sumsBelow(t, ds)
	in(ds, "datalad", "create-sibling-ria", "-s", "store", "--new-store-ok", "--alias", "ds", "ria+file://"+store)
	in(ds, "datalad", "push", "--to", "store")
	in(filepath.Join(store, "alias", "ds"), "git", "update-server-info")
	u.must("mount", "--dataset", serveFiles(t, store)+"/alias/ds", u.path("mnt"))
	sameSums(t, sumsBelow(t, u.path("mnt")), want)
	// The dataset itself, of which the store alone has the content now.
	in(ds, "datalad", "drop", ".")
	u.must("mount", "--dataset", ds, "--fetcher", "native", u.path("own"))
	sameSums(t, sumsBelow(t, u.path("own")), want)
}

// archiveLogs has the git-annex branch of a dataset say in which archives keys are.
func archiveLogs(t testing.TB, m *maker.Made, urls map[annex.Key]string) {
	t.Helper()
	var in strings.Builder
	in.WriteString("commit refs/heads/git-annex\ncommitter a <a@example.org> 1700000000 +0000\ndata 1\nx\nfrom refs/heads/git-annex^0\n")
	for key, url := range urls {
		text := "1700000000s 1 :dl+archive:" + url + "\n"
		fmt.Fprintf(&in, "M 100644 inline %s/%s.log.web\ndata %d\n%s\n", key.HashDirLower(), key.FileName(), len(text), text)
	}
	cmd := exec.Command("git", "-C", m.Dir, "fast-import", "--quiet")
	cmd.Stdin = strings.NewReader(in.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// Archives that are said to be in each other, in themselves, nowhere, or not what they
// are said to be, are errors with a reason, and disturb nobody.
func TestArchivesThatCannotBe(t *testing.T) {
	u := newUser(t)
	d := maker.Dataset{Name: "ds", Files: []maker.File{{Path: "dataset_description.json", Data: []byte(`{"Name": "ds", "BIDSVersion": "1.9.0"}`)}}}
	for i, name := range []string{"a", "b", "itself", "nowhere", "unverifiable", "out", "text"} {
		d.Files = append(d.Files, maker.File{Path: "sub-01/anat/sub-01_acq-" + name + "_T1w.nii.gz", Size: 5000, Seed: uint64(i + 1), Annexed: true})
	}
	var good bytes.Buffer
	w := tar.NewWriter(&good)
	content := bytes.Repeat([]byte("good"), 300)
	w.WriteHeader(&tar.Header{Name: "x/good", Size: int64(len(content)), Mode: 0o600, Typeflag: tar.TypeReg})
	w.Write(content)
	w.Close()
	d.Files = append(d.Files,
		maker.File{Path: "good.tar", Data: good.Bytes(), Annexed: true},
		maker.File{Path: "sub-01/anat/sub-01_acq-good_T1w.nii.gz", Data: content, Annexed: true},
		maker.File{Path: "text.tar", Data: bytes.Repeat([]byte("no archive\n"), 100), Annexed: true},
	)
	server, m := serve(t, u, d)
	key := func(name string) annex.Key {
		for i := range m.Files {
			if strings.Contains(m.Files[i].Path, name) {
				return m.Files[i].Key
			}
		}
		t.Fatalf("there is no %s", name)
		return annex.Key{}
	}
	archiveLogs(t, m, map[annex.Key]string{
		key("-a_"): key("-b_").String() + "#path=a", key("-b_"): key("-a_").String() + "#path=b", key("-itself_"): key("-itself_").String() + "#path=x",
		key("-nowhere_"):      "MD5E-s5--00000000000000000000000000000000.tar#path=x",
		key("-unverifiable_"): "URL-s5--http&c%%example.org%x#path=x",
		key("-out_"):          key("good.tar").String() + "#path=../../../../etc/passwd",
		key("-text_"):         key("text.tar").String() + "#path=x",
		key("-good_"):         key("good.tar").String() + "#path=x/good&size=999999999999",
	})
	server.SetFault(func(r publisher.Request) publisher.Fault {
		if strings.Contains(r.Path, "_T1w") {
			return publisher.Status(404, 0) // they are nowhere else
		}
		return nil
	})
	u.must("mount", "--dataset", m.Dir, "--fetcher", "native", u.path("mnt"))
	at := func(name string) string {
		return filepath.Join(u.path("mnt"), "sub-01", "anat", "sub-01_acq-"+name+"_T1w.nii.gz")
	}
	var all sync.WaitGroup
	for name, says := range map[string]string{
		"a": "in an archive that is in itself", "b": "in an archive that is in itself", "itself": "in an archive that is in itself", "nowhere": "no source is known",
		"unverifiable": "the archive", "out": "no such file", "text": "tar",
	} {
		all.Go(func() {
			if _, err := os.ReadFile(at(name)); err == nil {
				t.Errorf("%s was read", name)
			}
			if out := u.must("status", at(name)); !strings.Contains(out, says) {
				t.Errorf("status of %s does not say %q:\n%s", name, says, out)
			}
		})
	}
	all.Wait()
	if got, err := os.ReadFile(at("good")); err != nil || !bytes.Equal(got, content) {
		t.Errorf("what is right: %d bytes, %v", len(got), err)
	}
}
