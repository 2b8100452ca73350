package candidates

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

// The question and the answer of testdata/oracle.py.
type (
	asked struct {
		Cases    []askedCase `json:"cases"`
		Datasets []string    `json:"datasets"`
	}
	askedCase struct {
		Dir     string       `json:"dir"`
		Path    string       `json:"path"`
		Remotes [][2]string  `json:"remotes"`
		Module  [][2]string  `json:"module"`
		Config  []askedValue `json:"config"`
	}
	askedValue struct {
		key    string
		values []string
	}
	answered struct {
		Cases    []answer            `json:"cases"`
		Datasets []map[string]answer `json:"datasets"`
	}
	answer struct {
		Error    string     `json:"error"`
		List     []listed   `json:"list"`
		Attempts [][]string `json:"attempts"`
	}
	listed struct {
		URL  string `json:"url"`
		Name string `json:"name"`
		Cost int    `json:"cost"`
	}
)

func (v askedValue) MarshalJSON() ([]byte, error) { return json.Marshal([]any{v.key, v.values}) }

// ask has DataLad itself answer, or skips the test where it is not installed.
func ask(t *testing.T, question asked) (said answered) {
	t.Helper()
	python := os.Getenv("UNIHARMONYFS_TEST_PYTHON")
	if python == "" {
		python = "python3"
	}
	if err := exec.Command(python, "-c", "import datalad").Run(); err != nil {
		t.Skipf("%s has no datalad: set UNIHARMONYFS_TEST_PYTHON to an interpreter that has (%v)", python, err)
	}
	raw, err := json.Marshal(question)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "testdata/oracle.py")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(raw), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the oracle: %v", err)
	}
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatal(err)
	}
	return said
}

func plainList(list []Candidate) (out []listed) {
	for _, c := range list {
		out = append(out, listed{c.URL, c.Name, c.Cost})
	}
	return out
}

// same compares our list with DataLad's. Where that gives up all together, because
// of one candidate, the others are ours.
func same(t *testing.T, what string, list []Candidate, want answer) bool {
	t.Helper()
	if got := plainList(list); !slices.Equal(got, want.List) {
		t.Errorf("%s:\ngot  %v\nwant %v", what, got, want.List)
		return false
	}
	return true
}

// sameURLs compares what git is asked for with what DataLad asks it for. Ours are fewer
// where the server is known: GitHub has no work trees, and datasets.datalad.org nothing
// else.
func sameURLs(t *testing.T, what string, list []Candidate, want [][]string) bool {
	t.Helper()
	for i, c := range list {
		r, _, err := Config{}.Resolve(c)
		want := want[i]
		if err != nil || len(want) == 0 {
			continue // one of us gives up; we are stricter
		}
		asked, _ := parseLocation(c.URL)
		given, _ := parseLocation(r.URL)
		switch {
		case asked.kind == isDataLad:
			want = want[len(want)-1:]
		case given.kind == isURL && given.host == gitHub && given.fragment != "":
			continue // DataLad takes the mark for one of its own
		case given.kind == isURL && given.host == gitHub:
			want = want[:1]
		case strings.HasSuffix(asked.scheme, "file"):
			file, _ := splitURL(want[0])
			want = []string{unquote(file.path)}
		}
		if got := r.URLs(); !slices.Equal(got, want) {
			t.Errorf("%s: %s:\ngot  %q\nwant %q", what, c.URL, got, want)
			return false
		}
	}
	return true
}

// datasetsDir returns the directory with the datasets for tests.
func datasetsDir(t *testing.T) string {
	dir := os.Getenv("UNIHARMONYFS_TEST_DATASETS")
	if dir == "" {
		root, err := filepath.Abs("../../..")
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(root, "..", "shared", "datasets")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the datasets for tests are not there: set UNIHARMONYFS_TEST_DATASETS (%v)", err)
	}
	return dir
}

// Every member of real superdatasets has the candidates that DataLad tries, cloned
// from the web, by SSH, and from a folder.
func TestRealSuperdatasets(t *testing.T) {
	gittest.NeedGit(t)
	dir := datasetsDir(t)
	type clone struct {
		name, dir string
		remotes   []Remote
		members   int
	}
	var clones []clone
	question := asked{}
	for name, c := range map[string]struct {
		members int
		remotes []Remote
	}{
		"OpenNeuroDerivatives": {846, []Remote{{"origin", "https://github.com/OpenNeuroDerivatives/OpenNeuroDerivatives.git"}}},
		"OpenNeuroStudies":     {44, []Remote{{"origin", "git@github.com:OpenNeuroStudies/OpenNeuroStudies"}, {"beside", "/data/studies/.git"}}},
		"templateflow":         {30, []Remote{{"origin", "https://datasets.datalad.org/templateflow/.git"}}},
	} {
		bundle := filepath.Join(dir, name+".superdataset.bundle")
		if _, err := os.Stat(bundle); err != nil {
			t.Skipf("skipped: %v", err)
		}
		at := filepath.Join(t.TempDir(), name)
		gittest.Run(t, dir, "git", "clone", "-q", bundle, at)
		for _, r := range c.remotes {
			gittest.Run(t, at, "git", "config", "remote."+r.Name+".url", r.URL)
			gittest.Run(t, at, "git", "update-ref", "refs/remotes/"+r.Name+"/main", "HEAD")
		}
		if name == "templateflow" {
			f, err := os.OpenFile(filepath.Join(at, ".datalad", "config"), os.O_APPEND|os.O_WRONLY, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(f, "[datalad \"get\"]\n\tsubdataset-source-candidate-400store = ria+https://store.example.org#{id}\n\tsubdataset-source-candidate-own = https://example.org/{path_basename}\n")
			f.Close()
		}
		clones = append(clones, clone{name, at, c.remotes, c.members})
		question.Datasets = append(question.Datasets, at)
	}
	said := ask(t, question)
	for i, c := range clones {
		modules := fileEntries(t, filepath.Join(c.dir, ".gitmodules"))
		branch := fileEntries(t, filepath.Join(c.dir, ".datalad", "config"))
		records := Modules(modules)
		want := said.Datasets[i]
		if len(want) != c.members || len(records) < c.members {
			t.Errorf("%s has %d members, of which %d have a record, want %d", c.name, len(want), len(records), c.members)
		}
		p := Parent{Dir: c.dir, Remotes: c.remotes, Config: Layers{Branch: branch}.Merge()}
		for path, w := range want {
			list, skipped := p.List(records[path])
			if len(skipped) > 0 || !same(t, c.name+"/"+path, list, w) || !sameURLs(t, c.name+"/"+path, list, w.Attempts) {
				t.Fatalf("skipped: %v", skipped)
			}
		}
	}
}

func fileEntries(t *testing.T, path string) []Entry {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := ParseFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// maker makes up cases.
type maker struct{ *rand.Rand }

func (m maker) of(choices ...string) string { return choices[m.IntN(len(choices))] }

func (m maker) segment() string {
	return m.of("ds000001", "ds1.git", "sub", "a b", "ä", "x%20y", "x%zz", "derivatives", "~alice", "a+b", "a@b", "a;b", "a#b", "a?b=c", "-x", ".git", "{id}", "'q'", "c:d", "[x]", "$x", "a&b")
}

func (m maker) path() string {
	parts := []string{m.segment()}
	for m.IntN(3) == 0 {
		parts = append(parts, m.segment())
	}
	return strings.Join(parts, "/")
}

func (m maker) authority() string {
	if m.IntN(12) == 0 { // DataLad puts a user into the brackets
		return "[::1]" + m.of("", ":8080")
	}
	return m.of("", "", "", "git@", "alice:secret@", "token@", "a%40b:c@", "git@") +
		m.of("github.com", "github.com", "gitlab.com", "bitbucket.org", "example.org", "Example.ORG", "gin.g-node.org", "10.0.0.5", "localhost", "gist.github.com", "h") +
		m.of("", "", "", ":8080", ":0443")
}

func (m maker) url() string {
	switch m.IntN(12) {
	case 0:
		return m.of("./", "../", "../../", "../../../../../", "", "././", "..//") + m.path()
	case 1, 2:
		return "../" + m.path() + m.of("", ".git", "/", "/.git")
	case 3:
		return m.of("/data/", "//data/", "///", "/", "/data/../x/") + m.path()
	case 4:
		return m.of("git@", "alice@", "", "a.b@") + m.of("github.com", "gitlab.com", "example.org", "host", "h") + ":" + m.of("", "/", "//", "~/", "8022/") + m.path() + m.of("", ".git", "/")
	case 5:
		return m.of("ria+file://", "ria+file:///store", "ria+http://example.org/store", "ria+https://example.org:80", "ria+ssh://alice@host:/store") +
			m.of("#", "/#") + m.of("", "~alias", "~", "6c9a6b26-6a5c-4e0c-9d0b-5f3a3d0ef1f8") + m.of("", "@1.0", "@a@b")
	case 6:
		return m.of("file://", "file://localhost", "FILE://") + "/" + m.path()
	case 7:
		return m.of("ext::sh -c id", "C:/data", "c:x", "osf://abc12", "dl+archive:x#path", "https:", "https://", "ssh:x", "@", ":", "a:", "//", "//x", "x::y", "http://[::1", "http://h:x/y", "https://github.com/a/b/tree/main", "https://github.com/a/b/c/d", "https://gitlab.com/a/b/c/d.git/", "git+ssh://git@example.org/a/b", " https://example.org/a/b")
	}
	return m.of("https://", "https://", "http://", "ssh://", "git://", "HTTPS://", "svn+ssh://") + m.authority() + m.of("/", "/", "//", "") + m.path() + m.of("", "", ".git", "/", "/.git", ".git/")
}

func (m maker) template() string {
	return m.of("https://example.org/{path}", "ria+file:///store#{id}", "ria+http://s.example.org#{id}@{path_basename}", "{remoteurl-origin}/{path}", "{remoteurl-none}/x", "{{{id}}}", "{", "}", "{}", "{0}", "{path!s}",
		"{id:.3}/{id:>40}", "{path:*^20s}", "{path:010}", "{path[0]}", "{path.x}", "{name}/{url}", "{datalad-id}", "{datalad-url}", "{update}", "plain", "", "{branch}", "{path:x}", "{path:{id}}", "{path[99]}", "/data/{path_basename}")
}

func (m maker) make() askedCase {
	c := askedCase{Dir: m.of("", "/home/me/super", "/home/me/super", "/data/a b"), Path: strings.Trim(strings.ReplaceAll(m.path(), "/.git", "/git"), "/")}
	c.Remotes = [][2]string{}
	for _, name := range []string{"origin", "lab", "a b"} {
		if m.IntN(3) > 0 {
			c.Remotes = append(c.Remotes, [2]string{name, m.url()})
		}
	}
	c.Module = [][2]string{{"path", c.Path}}
	for _, p := range []struct{ key, value string }{
		{"url", m.url()}, {"datalad-id", m.of("6c9a6b26-6a5c-4e0c-9d0b-5f3a3d0ef1f8", "x")}, {"datalad-url", m.url()}, {"update", "none"}, {"datalad-recursiveinstall", "skip"}, {"branch", "main"},
	} {
		if m.IntN(3) > 0 {
			c.Module = append(c.Module, [2]string{p.key, p.value})
		}
	}
	c.Module = append(c.Module, [2]string{"name", m.path()})
	c.Config = []askedValue{{"user.name", []string{"a"}}}
	for range m.IntN(3) {
		key := templatePrefix + m.of("400", "100", "700", "900", "590", "65", "6000", "", "0") + m.of("x", "store", "-y", "9z", "")
		again := slices.ContainsFunc(c.Config, func(v askedValue) bool { return v.key == key })
		if !strings.HasSuffix(key, "-") && !again {
			c.Config = append(c.Config, askedValue{key, []string{m.template()}})
		}
	}
	return c
}

func (c askedCase) list() ([]Candidate, []Skipped) {
	p := Parent{Dir: c.Dir}
	if p.Dir == "" {
		p.Dir = "/nowhere"
	}
	for _, r := range c.Remotes {
		p.Remotes = append(p.Remotes, Remote{r[0], r[1]})
	}
	var branch []Entry
	for _, v := range c.Config {
		for _, value := range v.values {
			branch = append(branch, Entry{Key: v.key, Value: value})
		}
	}
	p.Config = Layers{Branch: branch}.Merge()
	m := Module{path: c.Path, of: make(map[string]string)}
	for _, kv := range c.Module {
		m.set(kv[0], kv[1])
	}
	return p.List(m)
}

// Made up cases of all kinds have the candidates that DataLad tries.
func TestGeneratedCandidates(t *testing.T) {
	m := maker{rand.New(rand.NewPCG(1, 2))}
	question := asked{Cases: make([]askedCase, 6_000)}
	for i := range question.Cases {
		question.Cases[i] = m.make()
	}
	said := ask(t, question)
	wrong, equal := 0, 0
	for i, c := range question.Cases {
		list, skipped := c.list()
		if said.Cases[i].Error != "" {
			continue
		}
		for _, s := range skipped {
			if !strings.Contains(s.Why.Error(), "no property") && !strings.Contains(s.Why.Error(), "brace in it") {
				t.Errorf("case %d: %+v: DataLad skips nothing, and we do: %v", i, c, s)
			}
		}
		what := fmt.Sprintf("case %d: %+v", i, c)
		if !same(t, what, list, said.Cases[i]) || !sameURLs(t, what, list, said.Cases[i].Attempts) {
			if wrong++; wrong > 10 {
				t.FailNow()
			}
		}
		equal++
	}
	if equal < len(question.Cases)/2 {
		t.Errorf("DataLad answers %d of %d", equal, len(question.Cases))
	}
	t.Logf("%d of %d compared", equal, len(question.Cases))
}

// Templates of all places where settings stand are taken as DataLad takes them.
func TestPlacesOfSettings(t *testing.T) {
	gittest.NeedGit(t)
	dir, home := filepath.Join(t.TempDir(), "super"), os.Getenv("HOME")
	gittest.Run(t, home, "git", "init", "-q", "-b", "main", dir)
	const id = "6c9a6b26-6a5c-4e0c-9d0b-5f3a3d0ef1f8"
	template := func(name string) string { return "\t" + "subdataset-source-candidate-" + name }
	files := map[string]string{
		filepath.Join(dir, ".gitmodules"):        "[submodule \"a\"]\n\tpath = a\n\turl = ../a # comment\n\tDatalad-ID = " + id + "\n",
		filepath.Join(dir, ".datalad", "config"): "[datalad \"get\"]\n" + template("1") + " = branch://{path}\n" + template("all") + " = branch-all\n" + template("200user") + " = branch-user\n" + template("300branch") + " = \"ria+https://example.org/store\"#{id}\n",
		filepath.Join(home, ".gitconfig"):        "[datalad \"get\"]\n" + template("all") + " = user-all\n" + template("200USER") + " = user-{id}\n" + template("2") + " = user-2\n",
	}
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	gittest.Run(t, dir, "git", "config", "datalad.get.subdataset-source-candidate-3local", "local-{path}")
	gittest.Run(t, dir, "git", "config", "remote.origin.url", "https://example.org/x/super")
	gittest.Run(t, dir, "git", "config", "branch.main.remote", "origin")
	gittest.Run(t, dir, "git", "add", ".")
	gittest.Run(t, dir, "git", "update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",a")
	gittest.Run(t, dir, "git", "commit", "-q", "-m", "x")
	env := []string{
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=datalad.get.subdataset-source-candidate-100git", "GIT_CONFIG_VALUE_0=of-git/{path}",
		"DATALAD_GET_SUBDATASET__SOURCE__CANDIDATE__150ENV=of-env/{path_basename}", "DATALAD_GET_SUBDATASET__SOURCE__CANDIDATE__ALL=env-all", "DATALAD_GET_SUBDATASET__SOURCE__CANDIDATE__X_Y=dotted",
		`DATALAD_CONFIG_OVERRIDES_JSON={"datalad.get.subdataset-source-candidate-160json": "json/{path}"}`,
	}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
	said := ask(t, asked{Datasets: []string{dir}})
	p := Parent{Dir: dir, Remotes: []Remote{{"origin", "https://example.org/x/super"}}, Config: Layers{
		Branch:      fileEntries(t, filepath.Join(dir, ".datalad", "config")),
		Repository:  fileEntries(t, filepath.Join(dir, ".git", "config")),
		User:        ParseList(gittest.Run(t, dir, "git", "--git-dir=/dev/null", "config", "-z", "--list")),
		Environment: env,
	}.Merge()}
	m := Modules(fileEntries(t, filepath.Join(dir, ".gitmodules")))["a"]
	if m.ID() != id || m.URL() != "../a" {
		t.Errorf("the record is %+v", m)
	}
	list, skipped := p.List(m)
	if len(skipped) > 0 || len(list) < 10 {
		t.Errorf("%d candidates, skipped: %v", len(list), skipped)
	}
	same(t, "a", list, said.Datasets[0]["a"])
}
