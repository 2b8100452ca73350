package subdatasets

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/candidates"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/web"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
)

// git goes through the guard, keeps the settings that it was given, and no exception
// from proxies is left; a proxy of the user's stays.
func TestEnvironmentOfGit(t *testing.T) {
	b := newBench(t)
	o := b.options("")
	o.Clone.Env = []string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=a.b", "GIT_CONFIG_VALUE_0=c", "no_proxy=example.org"}
	s := b.set(b.parent("https://example.org/super"), o)
	for _, c := range []struct {
		url    string
		via    candidates.Via
		proxy  []string // of the user
		guards bool
		allow  string
		why    error
	}{
		{"https://example.org/a", candidates.ViaPublic, nil, true, "http:https:ssh", nil},
		{"https://example.org/a", candidates.ViaPublic, []string{"http_proxy=http://p:1"}, true, "http:https:ssh", nil},
		{"http://example.org/a", candidates.ViaPublic, []string{"http_proxy=http://p:1"}, false, "http:https:ssh", nil},
		{"https://example.org/a", candidates.ViaPublic, []string{"HTTPS_PROXY=http://p:1"}, false, "http:https:ssh", nil},
		{"https://10.0.0.1/a", candidates.ViaPublic, []string{"all_proxy=http://p:1"}, false, "", web.ErrAddress},
		{"https://localhost/a", candidates.ViaPublic, []string{"https_proxy=http://p:1"}, false, "", web.ErrAddress},
		{"https://10.0.0.1/a", candidates.ViaNamed, nil, false, "http:https:ssh:git", nil},
		{"/data/a", candidates.ViaDir, nil, false, "file", nil},
	} {
		s.o.Clone.Env = append(slices.Clone(o.Clone.Env), c.proxy...)
		env, tunnel, err := s.environment(c.url, c.via)
		if !errors.Is(err, c.why) || (tunnel != nil) != c.guards {
			t.Errorf("%+v: %v, %v", c, tunnel, err)
			continue
		}
		if err != nil {
			continue
		}
		if got := variable(env, "GIT_ALLOW_PROTOCOL"); got != c.allow {
			t.Errorf("%+v: git may use %s", c, got)
		}
		if got := variable(env, "GIT_ASKPASS"); (got == "false") != (c.via == candidates.ViaPublic) {
			t.Errorf("%+v: %q asks for a password", c, got)
		}
		if got := variable(env, "no_proxy"); (got == "") != (c.via == candidates.ViaPublic) {
			t.Errorf("%+v: no proxy for %q", c, got)
		}
		cmd := gittest.Run(t, t.TempDir(), append(append([]string{"env"}, env...), "git", "config", "--list")...)
		if has := strings.Contains(cmd, "http.proxy=socks5h://127.0.0.1:"); has != c.guards || !strings.Contains(cmd, "a.b=c") {
			t.Errorf("%+v: git's settings are %s", c, cmd)
		}
	}
	one, _ := b.guard.tunnel([]string{"10.0.0.1", "::1"})
	same, _ := b.guard.tunnel([]string{"::1", "10.0.0.1", "::1"})
	other, _ := b.guard.tunnel(nil)
	if one == nil || one != same || one == other {
		t.Error("one tunnel is for one list of addresses")
	}
	gittest.Run(t, t.TempDir(), "git", "config", "--global", "http.proxy", "http://p:1")
	o.Clone.Env = nil
	s = b.set(b.parent("https://example.org/super"), o)
	if _, tunnel, err := s.environment("https://example.org/a", candidates.ViaPublic); tunnel != nil || err != nil {
		t.Errorf("a proxy of git's: %v, %v", tunnel, err)
	}
	os.Remove(os.Getenv("HOME") + "/.gitconfig")
}

// When the time is over, no other place is begun.
func TestTimeToFind(t *testing.T) {
	b := newBench(t)
	try := &try{set: b.set(b.parent("https://example.org/super"), b.options("")), version: string(nowhere), began: time.Now().Add(-findTime - time.Second)}
	if had, err := try.open(t.Context(), attempt{url: "https://example.org/a"}, fetch.Spec{}); !errors.Is(err, errTime) || had != nil || len(b.opened) != 0 {
		t.Errorf("%v, %v", had, err)
	}
}

// Where the disk is full, no other place helps.
func TestFullDiskEndsTheSearch(t *testing.T) {
	b := newBench(t)
	o := b.options(module("sub", "url = ../sub"))
	asked := 0
	o.Open = func(context.Context, fetch.Spec, string, fetch.CloneOptions) (*fetch.Clone, error) {
		asked++
		return nil, &advice.Error{Kind: advice.NoSpace, Reason: advice.DiskFull, What: "x", Why: "no space left on device", Do: []string{"free some"}}
	}
	_, err := b.set(b.parent("https://example.org/super"), o).Clone(t.Context(), "sub", nowhere)
	if known := new(advice.Error); !errors.As(err, &known) || known.Kind != advice.NoSpace || len(known.Do) == 0 || asked != 1 {
		t.Errorf("%v, after %d places", err, asked)
	}
}

// However many places a dataset makes up, some are tried.
func TestManyPlaces(t *testing.T) {
	b := newBench(t)
	o := b.options(module("sub", "url = ../sub"))
	o.Config = []byte("[datalad \"get\"]\n")
	for i := range 1000 {
		o.Config = append(o.Config, "\tsubdataset-source-candidate-x"+strings.Repeat("y", i)+" = https://example.org/"+strings.Repeat("z", i)+"\n"...)
	}
	list, refused := b.set(b.parent("https://example.org/super"), o).attempts("sub")
	if len(list) > maxAttempts+1 || len(refused) < 900 {
		t.Errorf("%d are tried, %d not", len(list), len(refused))
	}
	if e := (&NotHad{refused}).Error(); len(e) > maxTold+10 {
		t.Errorf("%d bytes are told", len(e))
	}
	if _, err := New(t.Context(), b.parent("https://example.org/super"), b.options("[bad")); err == nil {
		t.Error("a .gitmodules that is none is taken")
	}
}
