package main_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// gitOnly makes a PATH where there is git, but no git-annex.
func gitOnly(t *testing.T, u *user) string {
	t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	bin := u.path("git-only")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(git, filepath.Join(bin, "git")); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	return "PATH=" + bin
}

// refusingSSH is an ssh that ends as the true one does.
func refusingSSH(t *testing.T, u *user, name, says string) string {
	t.Helper()
	path := u.path(name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho '"+says+"' >&2\nexit 255\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return "GIT_SSH_COMMAND=" + path
}

// What git says of a dataset that cannot be cloned is answered with what to do.
func TestAdviceOnClones(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	dead := closedPort(t)
	noEntry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Proxy-Authenticate", `Basic realm="institute"`)
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	defer noEntry.Close()
	for _, c := range []struct {
		name, dataset string
		env           []string
		words         string
	}{
		{"no key", "git@example.org:data/x.git", []string{refusingSSH(t, u, "ssh1", "git@example.org: Permission denied (publickey).")},
			`--dataset https://example.org/data/x.git|url."https://example.org/".insteadOf "git@example.org:"|ssh-add`},
		{"unknown host", "ssh://git@example.org/data/x.git", []string{refusingSSH(t, u, "ssh2", "Host key verification failed.")},
			`--dataset https://example.org/data/x.git|accept its host key`},
		{"no ssh", "git@example.org:data/x.git", []string{"GIT_SSH_COMMAND=" + u.path("nothing")}, `--dataset https://example.org/data/x.git`},
		{"git protocol", "git://" + strings.TrimPrefix(dead, "http://") + "/x.git", nil, `--dataset https://127.0.0.1|url."https://".insteadOf "git://"`},
		{"dead proxy", "https://example.org/x.git", []string{"https_proxy=" + dead}, "env | grep -i proxy|unset http_proxy"},
		{"dead proxy, http", "http://example.org/x.git", []string{"http_proxy=" + dead}, "env | grep -i proxy|unset http_proxy"},
		{"proxy with a password", "https://example.org/x.git", []string{"https_proxy=" + noEntry.URL}, "407|env | grep -i proxy"},
		{"proxy without a name", "https://example.org/x.git", []string{"https_proxy=http://no-such-host.invalid:3128"}, "env | grep -i proxy"},
	} {
		u.env = append(c.env, "GIT_CONFIG_NOSYSTEM=1")
		said := u.fails(4, strings.Split(c.words, "|"), "list", "--dataset", c.dataset)
		t.Logf("%s: %s", c.name, said)
	}
}

// The advice to rewrite URLs helps: git's settings are heeded.
func TestRewrittenURLs(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	s, m := serve(t, u, demo.Dataset())
	at := strings.TrimSuffix(s.GitURL(m), "uniharmonyfs-demo.git")
	write(t, u.path(".gitconfig"), fmt.Sprintf("[url %q]\n\tinsteadOf = git@example.org:\n[url %q]\n\tinsteadOf = git://\n", at, strings.TrimSuffix(at, "git/")))
	for _, dataset := range []string{"git@example.org:uniharmonyfs-demo.git", "git://git/uniharmonyfs-demo.git"} {
		if out := u.must("list", "--count", "--dataset", dataset); !strings.Contains(out, "61 files") {
			t.Errorf("%s: %s", dataset, out)
		}
	}
}

// Why content cannot be had is answered with what to do, too.
func TestAdviceOnContent(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	get := func(dataset string) []string {
		return []string{"get", "--fetcher", "native", "--timeout", "1s", "--plain", "--suffix", "T1w", "--dataset", dataset, u.path("target")}
	}

	cert, _, err := publisher.SelfSigned(time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	secure, err := publisher.New(publisher.Options{Certificate: &cert})
	if err != nil {
		t.Fatal(err)
	}
	defer secure.Close()
	d := demo.Dataset()
	d.Name = "secure"
	d.Remotes = []maker.Remote{{Name: "s3", Kind: maker.Versioned, URL: secure.URL + "/bucket"}}
	m, err := maker.Make(u.path(d.Name), d)
	if err != nil {
		t.Fatal(err)
	}
	secure.Add(m)
	u.fails(7, []string{"certificate", "ca-certificates", "SSL_CERT_FILE"}, get(m.Dir)...)
	u.env = []string{"SSL_CERT_FILE=" + u.path("nothing.pem")}
	u.fails(4, []string{"SSL_CERT_FILE", "no such file"}, get(m.Dir)...)
	write(t, u.path("ca.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})))
	u.env = []string{"SSL_CERT_FILE=" + u.path("ca.pem")}
	time.Sleep(4 * time.Second) // the failure is remembered for a moment
	u.must(get(m.Dir)...)
	os.RemoveAll(u.path("target"))
	u.must("clean", "--all") // the other datasets have the same content
	u.env = nil

	d = demo.Dataset()
	d.Name = "proxied"
	d.Remotes = []maker.Remote{{Name: "s3", Kind: maker.Versioned, URL: "http://content.invalid/bucket"}}
	if m, err = maker.Make(u.path(d.Name), d); err != nil {
		t.Fatal(err)
	}
	u.env = []string{"http_proxy=" + closedPort(t)}
	u.fails(7, []string{"proxyconnect", "env | grep -i proxy", "unset http_proxy"}, get(m.Dir)...)
	u.env = nil
	time.Sleep(4 * time.Second) // the failure is remembered for a moment
	u.fails(7, []string{"check the network"}, get(m.Dir)...)

	d = demo.Dataset()
	d.Name = "private"
	server, m := serve(t, u, d)
	server.SetFault(publisher.Always(publisher.Status(http.StatusForbidden, 0)))
	u.fails(7, []string{"403", "not public", "--fetcher annex"}, get(m.Dir)...)
	u.fails(7, []string{"403", "not public"}, "prefetch", "--fetcher", "native", "--dataset", m.Dir, "--suffix", "T1w")
}

// Without git-annex the message says when it would help, and how to get it.
func TestAdviceWithoutGitAnnex(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.env = []string{gitOnly(t, u)}
	_, m := serve(t, u, demo.Dataset())
	const install = "apt-get install git-annex"
	u.fails(4, []string{"git-annex is missing", install, "--fetcher native"}, "get", "--fetcher", "annex", "--dataset", m.Dir, u.path("target"))
	u.fails(4, []string{"git-annex", install[:15]}, "get", "--direct", "--dataset", m.Dir, u.path("direct"))
	if out := u.run("doctor").out; !strings.Contains(out, install) {
		t.Errorf("doctor says nothing of git-annex:\n%s", out)
	}
	// What has URLs needs none.
	u.must("get", "--dataset", m.Dir, "--suffix", "T1w", u.path("target"))
	d := demo.Dataset()
	d.Name, d.Remotes = "annex-only", []maker.Remote{}
	u.must("clean", "--all") // the same content
	s, m := serve(t, u, d)
	u.fails(7, []string{"no source is known", install}, "get", "--plain", "--dataset", s.GitURL(m), "--suffix", "T1w", u.path("none"))
}
