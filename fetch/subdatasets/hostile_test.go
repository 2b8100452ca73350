package subdatasets

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
)

// Secrets of a URL are not told, whoever says them.
func TestSecretsAreNotTold(t *testing.T) {
	b := newBench(t)
	o := b.options(module("sub", "url = https://alice:s3cret@example.org/sub", "datalad-url = https://t0ken@example.org/sub") + module("bad", "url = https://carol:s3cret@example.org:x/bad", "datalad-url = https://t0ken:s3cret@example.org:x/bad"))
	o.Open = func(_ context.Context, spec fetch.Spec, _ string, _ fetch.CloneOptions) (*fetch.Clone, error) {
		u, err := url.Parse(spec.URL)
		return nil, errors.Join(fmt.Errorf("cannot read %s of %s", spec.URL, u.User), err)
	}
	set := b.set(b.parent("https://bob:pa55@example.org/super"), o)
	had, err := set.Clone(t.Context(), "sub", nowhere)
	places := notHad(t, had, err, advice.NotFound)
	for _, secret := range []string{"s3cret", "t0ken", "pa55"} {
		if told := fmt.Sprint(err, places, set.Places("sub"), set.Places("bad")); strings.Contains(told, secret) {
			t.Errorf("%s is told: %s", secret, told)
		}
	}
}

// What is refused asks nobody and starts no git, whatever a dataset says.
func TestHostilePlacesAreNotAsked(t *testing.T) {
	b := newBench(t)
	s := serve(t, t.TempDir())
	commit := repository(t, filepath.Join(s.root, "sub"), "private", false)
	private := filepath.Join(s.root, "sub")
	for _, url := range []string{
		"ext::git-upload-pack " + private, "ext::sh -c touch${IFS}x", "fd::0", "file://" + private, private, "ria+file://" + s.root + "#~sub", "/etc", "C:/x", "--upload-pack=touch x", "-x:y", "ssh://-oProxyCommand=id/x", "git@10.0.0.1:x", "git://10.0.0.1/x", "ftp://10.0.0.1/x", "a\x1b[2J", "http://", "https://[::1", "osf://abc12", "../../../../../../" + private,
	} {
		set := b.set(b.parent("https://example.org/super"), b.options("[submodule \"sub\"]\n\tpath = sub\n\tdatalad-url = \""+url+"\"\n"))
		set.parent.Remotes = nil
		had, err := set.Clone(t.Context(), "sub", commit)
		if notHad(t, had, err, advice.NotFound); len(b.opened) != 0 {
			t.Errorf("%s is asked for", url)
			b.opened = nil
		}
		if strings.Contains(err.Error(), "\x1b") {
			t.Errorf("not harmless: %q", err)
		}
	}
	if got := s.requests(); len(got) != 0 {
		t.Errorf("the server is asked for %q", got)
	}
}

// Addresses that are not public are refused when git connects, by address and by name
// and after redirects, whatever the environment says of proxies; the server that the
// user named is asked wherever it is.
func TestAddressesOfSubdatasets(t *testing.T) {
	b := newBench(t)
	public, private := serve(t, t.TempDir()), serve(t, t.TempDir())
	commit := repository(t, filepath.Join(private.root, "sub"), "private", false)
	public.answer(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, private.byName()+r.URL.String(), http.StatusFound)
		return true
	})
	for name, c := range map[string]struct {
		url   string
		allow []string
		env   []string
	}{
		"by address":    {private.URL + "/sub", nil, nil},
		"by name":       {private.byName() + "/sub", nil, nil},
		"oddly written": {strings.Replace(private.URL, "127.0.0.1", "2130706433", 1) + "/sub", nil, nil},
		"another one":   {private.URL + "/sub", []string{"127.0.0.2"}, nil},
		"without proxy": {private.URL + "/sub", nil, []string{"no_proxy=*", "NO_PROXY=*"}},
		"own settings":  {private.URL + "/sub", nil, []string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.extraHeader", "GIT_CONFIG_VALUE_0=X: y"}},
		"own proxy":     {private.URL + "/sub", nil, []string{"http_proxy=http://127.0.0.1:1", "no_proxy=127.0.0.1"}},
	} {
		o := b.options(module("sub", "url = "+c.url))
		o.AllowAddresses, o.Clone.Env = c.allow, c.env
		had, err := b.set(b.parent("https://127.0.0.1:1/super"), o).Clone(t.Context(), "sub", commit)
		known := new(advice.Error)
		if had != nil || !errors.As(err, &known) || !strings.Contains(known.Why, "address is not allowed") || !slices.ContainsFunc(known.Do, func(do string) bool { return strings.Contains(do, "--allow-address") }) {
			t.Errorf("%s: %v, %v", name, had, err)
		}
	}
	if got := private.requests(); len(got) != 0 {
		t.Errorf("the private server is asked for %q", got)
	}
	// The user's word leads there, and what they allow.
	for name, c := range map[string]struct {
		parent, url string
		allow       []string
	}{
		"named":   {private.URL + "/super", private.URL + "/sub", nil},
		"allowed": {"https://127.0.0.1:1/super", private.byName() + "/sub", []string{"127.0.0.0/8", "::1"}},
	} {
		o := b.options(module("sub", "url = "+c.url))
		o.AllowAddresses = c.allow
		if had, err := b.set(b.parent(c.parent), o).Clone(t.Context(), "sub", commit); err != nil || readme(t, had) != "private" {
			t.Errorf("%s: %v, %v", name, had, err)
		}
	}
	private.requests()
	// An address that is allowed redirects to one that is not.
	o := b.options(module("sub", "url = "+strings.Replace(public.URL, "127.0.0.1", "127.0.0.1", 1)+"/other"))
	o.AllowAddresses = []string{"127.0.0.1/32"}
	public.answer(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, strings.Replace(private.URL, "127.0.0.1", "127.0.0.2", 1)+r.URL.String(), http.StatusFound)
		return true
	})
	had, err := b.set(b.parent("https://127.0.0.1:1/super"), o).Clone(t.Context(), "sub", commit)
	known := new(advice.Error)
	if had != nil || !errors.As(err, &known) || !strings.Contains(known.Why, "127.0.0.2 belongs to 127.0.0.0/8") || len(public.requests()) == 0 || len(private.requests()) != 0 {
		t.Errorf("redirected: %v, %v", had, err)
	}
}

// What a dataset names does not become the user's word for its own subdatasets.
func TestReachIsNotHandedDown(t *testing.T) {
	b := newBench(t)
	s := serve(t, t.TempDir())
	upper := repository(t, filepath.Join(s.root, "upper"), "upper", false)
	lower := repository(t, filepath.Join(s.root, "lower"), "lower", false)
	o := b.options(module("sub", "url = "+s.byName()+"/upper"))
	o.AllowAddresses = []string{"127.0.0.1", "::1"}
	had, err := b.set(b.parent("https://127.0.0.1:1/super"), o).Clone(t.Context(), "sub", upper)
	if err != nil {
		t.Fatal(err)
	}
	s.requests()
	o = b.options(module("sub", "url = ../lower"))
	o.Within = had
	got, err := b.set(had.Clone, o).Clone(t.Context(), "sub", lower)
	if places := notHad(t, got, err, advice.NotFound); !strings.Contains(places[0].Why, "address is not allowed") || len(s.requests()) != 0 {
		t.Errorf("%+v", places)
	}
	o.AllowAddresses = []string{"127.0.0.1", "::1"}
	if got, err := b.set(had.Clone, o).Clone(t.Context(), "sub", lower); err != nil || readme(t, got) != "lower" {
		t.Errorf("%v, %v", got, err)
	}
	// The same where a dataset names a RIA store, in which its subdatasets are too.
	const up, low = "6c9a6b26-6a5c-4e0c-9d0b-5f3a3d0ef1f8", "0a1b2c3d-6a5c-4e0c-9d0b-5f3a3d0ef1f8"
	upper = repository(t, filepath.Join(s.root, "store", up[:3], up[3:]), "upper in a store", false)
	lower = repository(t, filepath.Join(s.root, "store", low[:3], low[3:]), "lower in a store", false)
	o = b.options(module("sub", `datalad-url = "ria+`+s.byName()+"/store#"+up+`"`))
	o.AllowAddresses = []string{"127.0.0.1", "::1"}
	if had, err = b.set(b.parent("https://127.0.0.1:1/super"), o).Clone(t.Context(), "sub", upper); err != nil || had.Clone.Spec.Store != "ria+"+s.byName()+"/store" {
		t.Fatalf("%v, %v", had, err)
	}
	s.requests()
	o = b.options(module("sub", "datalad-id = "+low))
	o.Within = had
	got, err = b.set(had.Clone, o).Clone(t.Context(), "sub", lower)
	if places := notHad(t, got, err, advice.NotFound); places[0].Cost != 200 || !strings.Contains(places[0].Why, "address is not allowed") || len(s.requests()) != 0 {
		t.Errorf("%+v", places)
	}
	o.AllowAddresses = []string{"127.0.0.1", "::1"}
	if got, err := b.set(had.Clone, o).Clone(t.Context(), "sub", lower); err != nil || readme(t, got) != "lower in a store" || got.From.Cost != 200 {
		t.Errorf("%v, %v", got, err)
	}
}

// Whoever stops waiting for a server that is silent is let go.
func TestStalledServerIsInterrupted(t *testing.T) {
	b := newBench(t)
	s := serve(t, t.TempDir())
	asked := make(chan struct{}, 10)
	s.answer(func(w http.ResponseWriter, r *http.Request) bool {
		asked <- struct{}{}
		<-r.Context().Done()
		return true
	})
	ctx, cancel := context.WithCancel(t.Context())
	set := b.set(b.parent(s.URL+"/super"), b.options(module("sub", "url = ../sub")))
	ended := make(chan error)
	go func() {
		_, err := set.Clone(ctx, "sub", nowhere)
		ended <- err
	}()
	<-asked
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if got := b.clones(); len(got) != 0 {
		t.Errorf("there are the clones %q", got)
	}
}
