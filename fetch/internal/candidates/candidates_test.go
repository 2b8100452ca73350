package candidates

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func entries(kv ...string) (out []Entry) {
	for _, s := range kv {
		key, value, has := strings.Cut(s, "=")
		out = append(out, Entry{Key: key, Value: value, NoValue: !has})
	}
	return out
}

const id = "6c9a6b26-6a5c-4e0c-9d0b-5f3a3d0ef1f8"

func module(kv ...string) Module {
	m := Module{path: "derivatives/a b", of: make(map[string]string)}
	for _, e := range entries(append([]string{"path=derivatives/a b"}, kv...)...) {
		m.set(e.Key, e.Value)
	}
	return m
}

func origin(url string) []Remote { return []Remote{{"origin", url}} }

// The order, the costs and the names are DataLad's.
func TestOrderOfCandidates(t *testing.T) {
	p := Parent{
		Dir:     "/home/me/super",
		Remotes: []Remote{{"origin", "https://example.org/lab/super.git"}, {"cluster", "alice@cluster:/data/super"}, {"origin", "https://ignored.example.org/x"}, {"none", ""}},
		Config: Layers{
			Branch: entries(templatePrefix+"store=ria+https://store.example.org#{id}", templatePrefix+"200first={remoteurl-cluster}/{path_basename}", templatePrefix+"none={remoteurl-none}", templatePrefix+"novalue"),
			User:   entries(templatePrefix+"999last=file:///mirror/{path}", templatePrefix+"twice=a", templatePrefix+"twice=b"),
		}.Merge(),
	}
	list, skipped := p.List(module("url=../a.git", "datalad-url=ria+ssh://alice@cluster:/store#"+id, "datalad-id="+id))
	want := []listed{
		{"alice@cluster:/data/super/a b", "first", 200},
		{"ria+ssh://alice@cluster:/store#" + id, "dl-url", 590},
		{"https://example.org/lab/a.git", "origin", 600},
		{"alice@cluster:/data/a.git", "cluster", 600},
		{"https://example.org/lab/super.git/derivatives/a%2520b", "origin", 650},
		{"alice@cluster:/data/super/derivatives/a b", "cluster", 650},
		{"ria+https://store.example.org#" + id, "store", 700},
		{"/home/me/a.git", "local", 900},
		{"file:///mirror/derivatives/a b", "last", 999},
	}
	if got := plainList(list); !slices.Equal(got, want) {
		t.Errorf("got\n%v, want\n%v", got, want)
	}
	var names []string
	for _, s := range skipped {
		names = append(names, s.Name)
	}
	if !slices.Equal(names, []string{"none", "novalue", "twice"}) {
		t.Errorf("skipped: %v", skipped)
	}
}

// Equal places are tried once, where they cost least; the protocol of the parent is
// tried for an absolute URL.
func TestAbsoluteURLs(t *testing.T) {
	for _, c := range []struct {
		remote, url string
		want        []string
	}{
		{"https://github.com/o/super.git", "git@github.com:o/a.git", []string{"git@github.com:o/a.git 600", "https://github.com/o/a.git 610", "https://github.com/o/super.git/derivatives/a%2520b 650"}},
		{"git@github.com:o/super", "https://github.com/o/a", []string{"https://github.com/o/a 600", "git@github.com:o/a.git 610", "git@github.com:o/super/derivatives/a b 650"}},
		{"ssh://git@example.org:22/o/g/super", "https://example.org/o/g/a.git", []string{"https://example.org/o/g/a.git 600", "git@example.org:o/g/a.git 610", "ssh://git@example.org:22/o/g/super/derivatives/a%2520b 650"}},
		{"http://example.org/super", "https://example.org/o/a", []string{"https://example.org/o/a 600", "http://example.org/super/derivatives/a%2520b 650"}},
		{"http://example.org/super", "https://example.org/a", []string{"https://example.org/a 600", "http://example.org/super/derivatives/a%2520b 650"}},
		{"https://datasets.datalad.org/x/.git", "./a", []string{"https://datasets.datalad.org/x/a/.git 600", "https://datasets.datalad.org/x/derivatives/a%2520b/.git 650"}},
		{"/data/super/.git", "", []string{"/data/super/derivatives/a b/.git 650"}},
		{"ext::sh -c id", "../a", []string{"ext::sh -c id 600"}},
		{"https://example.org:http/x", "/data/a", []string{"/data/a 600"}},
	} {
		list, _ := Parent{Remotes: origin(c.remote)}.List(module("url=" + c.url))
		var got []string
		for _, l := range plainList(list) {
			got = append(got, fmt.Sprint(l.URL, " ", l.Cost))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s from %s:\ngot  %q\nwant %q", c.url, c.remote, got, c.want)
		}
	}
}

func TestResolve(t *testing.T) {
	for text, want := range map[string]Repository{
		"ria+file:///store#" + id:                      {URL: "/store/6c9/a6b26-6a5c-4e0c-9d0b-5f3a3d0ef1f8", Store: "ria+file:///store", Name: id},
		"ria+file:///store/#~my-data@1.0":              {URL: "/store/alias/my-data", Store: "ria+file:///store/", Name: "my-data", Version: "1.0"},
		"ria+https://store.example.org#" + id + "@v@1": {URL: "https://store.example.org/6c9/a6b26-6a5c-4e0c-9d0b-5f3a3d0ef1f8", Store: "ria+https://store.example.org", Name: id, Version: "v@1", MaybeBelow: true},
		"ria+http://u:p@h:8080/a%20b#~x":               {URL: "http://u:p@h:8080/a%20b/alias/x", Store: "ria+http://u:p@h:8080/a%20b", Name: "x", MaybeBelow: true},
		"ria+ssh://alice@host:/data/store#" + id:       {URL: "ssh://alice@host/data/store/6c9/a6b26-6a5c-4e0c-9d0b-5f3a3d0ef1f8", Store: "ria+ssh://alice@host:/data/store", Name: id},
		"///":                                          {URL: "https://datasets.datalad.org/.git"},
		"///openneuro":                                 {URL: "https://datasets.datalad.org/openneuro/.git"},
		"///openneuro/ds000001/":                       {URL: "https://datasets.datalad.org/openneuro/ds000001/.git"},
		"file:///data/a%20b":                           {URL: "/data/a b"},
		"/data/a":                                      {URL: "/data/a"},
		"git@example.org:a":                            {URL: "git@example.org:a"},
		"https://example.org/a":                        {URL: "https://example.org/a", MaybeBelow: true},
		"https://example.org/a/.git":                   {URL: "https://example.org/a/.git"},
		"https://github.com/a/b":                       {URL: "https://github.com/a/b"},
	} {
		if got, err := Resolve(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"ria+file:///store", "ria+file:///store#", "ria+file:///store#~", "ria+file:///store#~..", "ria+file:///store#~a/../b", "ria+file:///store#" + id + "/../x", "ria+file:///store#" + strings.ToUpper(id), "ria+file:///store#~a\n",
		"ria+ftp://h/store#" + id, "ria+https:///store#" + id, "ria+file://elsewhere/store#" + id, "//x", "//x/y", "file://elsewhere/a", "file:a", "file:///a?b", "https://h:x/",
	} {
		if got, err := Resolve(text); err == nil {
			t.Errorf("%s: %+v", text, got)
		}
	}
	if got := (Repository{URL: "https://h/a/", MaybeBelow: true}).URLs(); !slices.Equal(got, []string{"https://h/a/", "https://h/a/.git"}) {
		t.Error(got)
	}
}

// A dataset's word leads to the public web only; the user's own leads further.
func TestReach(t *testing.T) {
	type check struct {
		url string
		via Via
		why string
	}
	for _, c := range []struct {
		named  string
		checks []check
	}{
		{"https://example.org/super", []check{
			{"https://example.org/a", ViaNamed, ""}, {"https://example.org:443/a", ViaNamed, ""}, {"https://u:p@example.org/a", ViaNamed, ""}, {"http://example.org/a", ViaPublic, ""}, {"https://example.org:8443/a", ViaPublic, ""}, {"https://example.com/a", ViaPublic, ""},
			{"ssh://example.org/a", 0, "named yourself"}, {"git@example.org:a", 0, "named yourself"}, {"git://example.org/a", 0, "named yourself"},
			{"/data/a", 0, "outside"}, {"ftp://example.org/a", 0, "by https"}, {"osf://abc12", 0, "by https"}, {"", 0, "empty"},
			{"ext::sh -c id", 0, "runs a program"}, {"fd::17", 0, "runs a program"}, {"-x", 0, "option"}, {"--upload-pack=id:x", 0, "option"}, {"https://-x/a", 0, "name of a server"}, {"https://a b/a", 0, "name of a server"}, {"https://example.org/-x", 0, "dash"},
			{"https://example.org/\x1b[2J", 0, "do not show"}, {"https://example.org/\u202e", 0, "do not show"}, {"https://example.org/\xff", 0, "do not show"}, {"https://example.org/" + strings.Repeat("x", maxURL), 0, "longer"},
			{"a/b", 0, "relative"}, {"C:/data", 0, "Windows"}, {"https://example.org:99999/a", 0, "port"}, {"https://github.com/a/b", ViaPublic, ""}, {"https://github.com/a", 0, "OWNER/NAME"}, {"https://github.com/a/b/c", 0, "OWNER/NAME"}, {"https://github.com/store/6c9/x", 0, "OWNER/NAME"},
		}},
		{"git@example.org:o/super", []check{{"git@example.org:o/a", ViaNamed, ""}, {"ssh://git@example.org/o/a", ViaNamed, ""}, {"root@example.org:o/a", 0, "named yourself"}, {"git@example.com:o/a", 0, "named yourself"}, {"git@example.org:-x", 0, "dash"}, {"https://example.org/a", ViaPublic, ""}}},
		{"ssh://-oProxyCommand=id/x", []check{{"ssh://-oProxyCommand=id/x", 0, "name of a server"}}},
		{"ssh://-x@h/x", []check{{"ssh://-x@h/x", 0, "name of a user"}}},
		{"/data/super/.git", []check{{"/data/super/a", ViaDir, ""}, {"/data/super", ViaDir, ""}, {"/data/super/../super/a", ViaDir, ""}, {"/data/super2", 0, "outside"}, {"/data/super/../a", 0, "outside"}, {"/", 0, "outside"}, {"https://10.0.0.5/a", ViaPublic, ""}}},
		{"/", []check{{"/data", 0, "outside"}, {"/", 0, "outside"}}},
		{"ria+file:///store#" + id, []check{{"/store/alias/x", ViaDir, ""}, {"/stores", 0, "outside"}}},
		{"ria+ssh://alice@host:/store#~x", []check{{"ssh://alice@host/store/alias/y", ViaNamed, ""}}},
		{"///openneuro", []check{{"https://datasets.datalad.org/labs/.git", ViaNamed, ""}}},
		{"git://example.org/super", []check{{"git://example.org/a", ViaNamed, ""}}},
		{"ext::sh", []check{{"ext::sh", 0, "runs a program"}}},
	} {
		for _, k := range c.checks {
			via, err := ReachOf(c.named).Check(Repository{URL: k.url})
			if k.why == "" && (err != nil || via != k.via) || k.why != "" && (err == nil || !strings.Contains(err.Error(), k.why)) {
				t.Errorf("%.80s of %s: %v, %v; want %v %q", k.url, c.named, via, err, k.via, k.why)
			}
		}
	}
}

// What the user wrote of a template or a rewritten URL is named by them; what a
// dataset puts into it, or wrote itself, is not.
func TestReachOfConfiguration(t *testing.T) {
	m := module("url=x.evil.example", "datalad-id="+id, "name=../../home/victim")
	for _, c := range []struct{ template, url, why string }{
		{"ria+file:///store#{id}", "/store/6c9/a6b26-6a5c-4e0c-9d0b-5f3a3d0ef1f8", ""},
		{"file:///mirror/{path_basename}", "/mirror/a b", ""},
		{"/mirror/ds-{path}", "/mirror/ds-derivatives/a b", ""},
		{"/mirror/{name}", "/mirror/../../home/victim", "outside"},
		{"/{path}", "/derivatives/a b", "outside"},
		{"ssh://cluster/data/{path_basename}", "ssh://cluster/data/a b", ""},
		{"cluster:{path_basename}", "cluster:a b", ""},
		{"ssh://cluster.{url}/data", "ssh://cluster.x.evil.example/data", "named yourself"},
		{"{url}:x", "x.evil.example:x", "named yourself"},
		{"ssh://cluster{url[1]}evil/data", "ssh://cluster.evil/data", "named yourself"},
		{"/data/fixed", "/data/fixed", ""},
	} {
		for _, users := range []bool{true, false} {
			layers := Layers{Branch: entries(templatePrefix + "100x=" + c.template)}
			if users {
				layers = Layers{User: layers.Branch}
			}
			config := layers.Merge()
			list, skipped := Parent{Config: config}.List(m)
			if len(list) == 0 {
				t.Fatalf("%s: skipped %v", c.template, skipped)
			}
			r, reach, err := config.Resolve(list[0])
			if err != nil || r.URL != c.url {
				t.Errorf("%s: %+v, %v", c.template, r, err)
			}
			_, err = reach.Check(r)
			if users && c.why == "" && err != nil || (!users || c.why != "") && err == nil || users && c.why != "" && err != nil && !strings.Contains(err.Error(), c.why) {
				t.Errorf("%s, the user's: %v: %v", c.template, users, err)
			}
		}
	}
	rewrites := entries("url.file:///mirror/.insteadof=https://github.com/", "url.https://proxy.lab/.insteadof=https://github.com/special/", "url./.insteadof=gh:")
	for _, users := range []bool{true, false} {
		layers := Layers{Branch: rewrites}
		if users {
			layers = Layers{User: rewrites}
		}
		config := layers.Merge()
		for url, want := range map[string]string{"https://github.com/a/b": "/mirror/a/b", "https://github.com/special/x": "https://proxy.lab/x", "gh:home/victim": "/home/victim", "https://github.com/a/../../home": "/home"} {
			r, reach, err := config.Resolve(Candidate{URL: url})
			if !users {
				want = url
			}
			_, no := reach.Check(r)
			if url == "https://github.com/a/../../home" {
				continue // no such name at GitHub
			}
			if err != nil || r.URL != want || users && (no == nil) != (url != "gh:home/victim") {
				t.Errorf("%s, the user's: %v: %+v, %v, %v", url, users, r, err, no)
			}
		}
	}
}

// A dataset's template tells no other server what is secret in a remote's URL, also
// not in pieces; the user's own may.
func TestTemplatesBetrayNoSecret(t *testing.T) {
	remotes := []Remote{{"origin", "https://alice:s3cret@lab.example.org/super"}, {"open", "https://example.org/super"}}
	for template, harmless := range map[string]bool{
		"{remoteurl-origin}/{path_basename}": true, "{remoteurl-open}/x": true, "https://evil.example/{remoteurl-open}": true, "https://lab.example.org/{path}": true,
		"https://evil.example/{remoteurl-origin}": false, "{remoteurl-origin[8]}.evil.example:x": false, "https://evil.example/{remoteurl-origin:.12}": false, "https://evil.example/{remoteurl-origin!s}": false, "{remoteurl-origin:.26}.evil.example/x": false, "{remoteurl-origin:.28}evil.example/x": false, "http{remoteurl-origin:.0}://lab.example.org/x": false,
	} {
		entry := entries(templatePrefix + "1x=" + template)
		list, _ := Parent{Remotes: remotes, Config: Layers{Branch: entry}.Merge()}.List(module())
		is := func(c Candidate) bool { return c.Name == "1x" }
		if slices.ContainsFunc(list, is) != harmless {
			t.Errorf("%s: %v", template, plainList(list))
		}
		if list, _ = (Parent{Remotes: remotes, Config: Layers{User: entry}.Merge()}).List(module()); !slices.ContainsFunc(list, is) {
			t.Errorf("%s, the user's: %v", template, plainList(list))
		}
	}
}

// A dataset's settings and templates hold for its subdatasets' own, and are believed
// no more there.
func TestInheritedTemplates(t *testing.T) {
	upper := Layers{Branch: entries(templatePrefix+"a=/data/{path}", "user.name=x"), User: entries(templatePrefix + "b=/own/{path}")}.Merge()
	lower := Layers{Inherited: upper, Branch: entries(templatePrefix + "b=/evil/{path}")}.Merge()
	list, _ := Parent{Config: lower}.List(module())
	if got := plainList(list); !slices.Equal(got, []listed{{"/data/derivatives/a b", "a", 700}, {"/own/derivatives/a b", "b", 700}}) {
		t.Error(got)
	}
	for i, allowed := range []bool{false, true} {
		r, reach, _ := lower.Resolve(list[i])
		if _, err := reach.Check(r); (err == nil) != allowed {
			t.Errorf("%s: %v", r.URL, err)
		}
	}
}

// Of what datasets say, there is an end to what is looked at: each dataset hands its
// templates down. The user's own are all there.
func TestTemplatesAreBounded(t *testing.T) {
	many := func(name string, n int) (all []Entry) {
		for i := range n {
			all = append(all, Entry{Key: fmt.Sprint(templatePrefix, name, i), Value: fmt.Sprint("https://", name, ".example/", i)})
		}
		return all
	}
	config := Layers{Branch: many("upper", maxTemplates-1)}.Merge()
	config = Layers{Inherited: config, Branch: many("lower", 50), User: many("user", 2*maxTemplates), Repository: many("local", 50)}.Merge()
	list, skipped := Parent{Config: config}.List(module())
	from := make(map[string]int)
	for _, c := range list {
		from[strings.TrimRight(c.Name, "0123456789")]++
	}
	if from["upper"] != maxTemplates-1 || from["lower"] != 1 || from["local"] != 0 || from["user"] != 2*maxTemplates || len(skipped) != 1 {
		t.Errorf("%v, %v", from, skipped)
	}
	for _, c := range []struct {
		template string
		property string
		fits     bool
	}{
		{strings.Repeat("{x:.0}", maxFields) + "/x", "y", true}, {strings.Repeat("{x:.0}", maxFields+1) + "/x", "y", false},
		{"/{x:.1}", strings.Repeat("y", maxURL), true}, {"/{x:.1}", strings.Repeat("y", maxURL+1), false}, {"/{x[0]}", strings.Repeat("y", maxURL+1), false},
		{"/" + strings.Repeat("{{", maxURL/2), "y", false},
	} {
		config := Layers{Branch: []Entry{{Key: templatePrefix + "x", Value: c.template}}}.Merge()
		if list, skipped := (Parent{Config: config}).List(module("x=" + c.property)); (len(list) == 1) != c.fits || (len(skipped) == 0) != c.fits {
			t.Errorf("%.80s of %.10s: %d, %v", c.template, c.property, len(list), skipped)
		}
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	for text, want := range map[string]string{
		"https://alice:s3cret@example.org/a@b": "https://...@example.org/a@b", "https://t0ken@example.org/": "https://...@example.org/", "https://t0ken@example.org?x": "https://...@example.org?x", "ssh://git:s3cret@h/x": "ssh://git@h/x", "ria+ssh://alice@h/x#y": "ria+ssh://alice@h/x#y", "git@h:x": "git@h:x", "/a@b": "/a@b", "https://example.org/a@b": "https://example.org/a@b",
	} {
		if got := Shown(text); got != want {
			t.Errorf("%s is shown as %s, want %s", text, got, want)
		}
		said := "cannot read " + text + " with s3cret, t0ken"
		if got := Conceal(said, text); strings.Contains(text, "s3cret") && strings.Contains(got, "s3cret") || strings.Contains(text, "t0ken") && strings.Contains(got, "t0ken") {
			t.Errorf("of %s is said %s", text, got)
		}
	}
	if got := Conceal("password p@ss", "https://a:p%40ss@h/"); got != "password ..." {
		t.Error(got)
	}
}

func TestModules(t *testing.T) {
	file := "\xef\xbb\xbf[submodule \"a.b\"]\r\n\tpath = ./a//b\r\n\turl=../a;x\n[submodule \"later\"]\n\tpath = a/b\n\tdatalad-recursiveinstall = skip\n\tupdate = none\n\turl\n[other]\n\tx = y\n[submodule \"none\"]\n\turl = z\n[SUBMODULE \"c\"] PATH = \"c # d\" \\\n  e ; comment\n"
	got, err := ParseFile([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	all := Modules(got)
	if len(all) != 2 || all["a/b"].get("name") != "later" || !all["a/b"].IsSkipped() || all["a/b"].URL() != "" || all["c # d   e"].Path() != "c # d   e" {
		t.Errorf("%+v", all)
	}
	for _, bad := range []string{"[a", "[a \"b", "[a \"b\" ]", "[a\"b\"]", "x = y", "[a]\n1x = y", "[a]\nx y", "[a]\nx = \"y", "[a]\nx = \\q", "[a]\nx = \x00", "[a b]", "[a]\n]"} {
		if got, err := ParseFile([]byte(bad)); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte("[a \"b\\\"c\"]\n\tx = \"y # z\" \\\n w ; c\nz\n"))
	f.Add([]byte("[submodule \"x\"]\npath=../..\nurl=ext::sh\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		entries, err := ParseFile(file)
		if err != nil {
			return
		}
		for _, e := range entries {
			if !strings.Contains(e.Key, ".") || strings.Contains(e.Key, "\x00") || strings.Contains(e.Value, "\x00") || e.NoValue && e.Value != "" {
				t.Errorf("%+v", e)
			}
		}
		for path, m := range Modules(entries) {
			if m.Path() != path || path == "" {
				t.Errorf("%q: %+v", path, m)
			}
			Parent{Remotes: origin("https://example.org/super")}.List(m)
		}
	})
}

// Whatever a dataset says of where its subdatasets are: what is asked for is harmless.
func FuzzCandidates(f *testing.F) {
	for _, s := range []string{"../a", "ext::sh -c id", "ria+file:///store#" + id, "ria+file:///store#~..", "///x", "git@h:x", "https://a:b@[::1]:80/x", "-x", "file:///etc", "C:/x", "/data/super/../x", "ssh://-x/y"} {
		f.Add(s, s, "https://example.org/super", "{id}{path}")
		f.Add(s, "", "/data/super", s+"{url!s:>10}")
	}
	f.Fuzz(func(t *testing.T, url, datalad, remote, template string) {
		config := Layers{Branch: []Entry{{Key: templatePrefix + "x", Value: template}}}.Merge()
		p := Parent{Dir: "/data/super", Remotes: []Remote{{"origin", "/data/super"}, {"own", remote}}, Config: config}
		list, _ := p.List(module("url="+url, "datalad-url="+datalad, "datalad-id="+url))
		named := ReachOf("/data/super").And(ReachOf("https://example.org/super"))
		for i, c := range list {
			if i > 0 && list[i-1].Cost > c.Cost {
				t.Errorf("the order is %v", plainList(list))
			}
			r, own, err := config.Resolve(c)
			if err != nil {
				continue
			}
			via, err := named.And(own).Check(r)
			if err != nil {
				continue
			}
			for _, u := range r.URLs() {
				local := strings.HasPrefix(u, "/")
				clean := strings.HasPrefix(normalise(u)+"/", "/data/super/")
				if strings.HasPrefix(u, "-") || !local && strings.Contains(u, "::") && !strings.Contains(u, "://") || local != (via == ViaDir) || local && !clean || !local && !strings.Contains(u, "://") {
					t.Errorf("%q is asked for, via %d", u, via)
				}
			}
		}
	})
}
