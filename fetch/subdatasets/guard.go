package subdatasets

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http/httpproxy"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/candidates"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/web"
)

// Guard holds git to public addresses where a dataset says what it asks for. It is
// needed as long as clones that were made with it are.
type Guard struct {
	mu      sync.Mutex // guards the following
	tunnels map[string]*web.Tunnel
}

// Close ends what goes through the guard.
func (g *Guard) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range g.tunnels {
		t.Close()
	}
	g.tunnels = nil
}

// tunnel returns the one for a list of allowed addresses.
func (g *Guard) tunnel(allow []string) (*web.Tunnel, error) {
	allow = slices.Compact(slices.Sorted(slices.Values(allow)))
	name := strings.Join(allow, "\n")
	g.mu.Lock()
	defer g.mu.Unlock()
	if t := g.tunnels[name]; t != nil {
		return t, nil
	}
	t, err := web.NewTunnel(allow)
	if err != nil {
		return nil, err
	}
	if g.tunnels == nil {
		g.tunnels = make(map[string]*web.Tunnel)
	}
	g.tunnels[name] = t
	return t, nil
}

// protocols are what git may use, after the user's own rewriting of URLs too.
var protocols = map[candidates.Via]string{
	candidates.ViaPublic: "http:https:ssh",
	candidates.ViaNamed:  "http:https:ssh:git",
	candidates.ViaDir:    "file",
}

// environment returns what git is to be started with for a URL, and the tunnel that it
// goes through, or nil. Behind a proxy of the user's, which connects for us, addresses
// can only be checked where the URL spells them.
func (s *Set) environment(to string, via candidates.Via) ([]string, *web.Tunnel, error) {
	env := append(slices.Clone(s.o.Clone.Env), "GIT_ALLOW_PROTOCOL="+protocols[via])
	if via != candidates.ViaPublic {
		return env, nil, nil
	}
	u, err := url.Parse(to)
	if err != nil {
		return nil, nil, errors.New("it is no URL")
	}
	// Nobody who looks into a folder expects to be asked for a password.
	env = append(env, "no_proxy=", "NO_PROXY=", "GIT_ASKPASS=false", "GCM_INTERACTIVE=never")
	if s.behindProxy(u) {
		return env, nil, web.CheckHost(s.o.AllowAddresses, u.Hostname())
	}
	t, err := s.o.Guard.tunnel(s.o.AllowAddresses)
	if err != nil {
		return nil, nil, err
	}
	n, _ := strconv.Atoi(variable(append(os.Environ(), env...), "GIT_CONFIG_COUNT"))
	n = max(n, 0)
	return append(env, fmt.Sprintf("GIT_CONFIG_COUNT=%d", n+1), fmt.Sprintf("GIT_CONFIG_KEY_%d=http.proxy", n), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", n, t.URL())), t, nil
}

// behindProxy reports whether the user has git use a proxy for a URL.
func (s *Set) behindProxy(u *url.URL) bool {
	all := append(os.Environ(), s.o.Clone.Env...)
	any := variable(all, "all_proxy") + variable(all, "ALL_PROXY")
	c := httpproxy.Config{HTTPProxy: variable(all, "http_proxy"), HTTPSProxy: variable(all, "https_proxy") + variable(all, "HTTPS_PROXY")}
	// That an address is local is for the proxy to say.
	proxy, err := c.ProxyFunc()(&url.URL{Scheme: u.Scheme, Host: "proxied.invalid"})
	return any != "" || proxy != nil || err != nil || s.gitsProxy
}

// variable returns the value that counts of an environment variable.
func variable(env []string, name string) (value string) {
	for _, kv := range env {
		if v, is := strings.CutPrefix(kv, name+"="); is {
			value = v
		}
	}
	return value
}
