package web

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/plain"
)

// Options tune New. The zero value works.
type Options struct {
	Allow   []string      // addresses, networks or "all", beyond the public ones
	Env     []string      // the caller's, for proxies and certificates; goes before our own
	Timeout time.Duration // longest wait without a new byte; 0 is DefaultTimeout
}

const (
	// DefaultTimeout is the longest wait for a source that sends nothing.
	DefaultTimeout = 30 * time.Second

	// A pool of HTTP/1.1 connections beats HTTP/2's one connection for bulk
	// data, at a third of the CPU time.
	maxConns     = 16
	maxRedirects = 5
)

// Client moves bytes over HTTP. It is safe for concurrent use.
type Client struct {
	client  *http.Client
	timeout time.Duration
	allowed addresses
	proxy   func(*url.URL) (*url.URL, error)
	hosts   breaker
}

// New returns a client. The error says which option cannot be used.
func New(o Options) (*Client, error) {
	allowed, err := parseAddresses(o.Allow)
	if err != nil {
		return nil, err
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	c := &Client{timeout: o.Timeout, allowed: allowed, proxy: proxies(o.Env)}
	roots, err := authorities(o.Env)
	if err != nil {
		return nil, err
	}
	direct := &net.Dialer{Timeout: min(o.Timeout, 20*time.Second), KeepAlive: 15 * time.Second, Control: allowed.control}
	toProxy := &net.Dialer{Timeout: direct.Timeout, KeepAlive: direct.KeepAlive}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	transport := &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) { return c.proxy(r.URL) },
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if c.isProxy(addr) {
				return toProxy.DialContext(ctx, network, addr)
			}
			return direct.DialContext(ctx, network, addr)
		},
		TLSClientConfig:        &tls.Config{RootCAs: roots},
		Protocols:              protocols,
		DisableCompression:     true,
		MaxIdleConns:           4 * maxConns,
		MaxIdleConnsPerHost:    maxConns,
		MaxConnsPerHost:        maxConns,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    min(o.Timeout, 20*time.Second),
		ResponseHeaderTimeout:  o.Timeout,
		OnProxyConnectResponse: checkProxy,
		MaxResponseHeaderBytes: 64 << 10,
		ReadBufferSize:         64 << 10,
	}
	c.client = &http.Client{Transport: transport, CheckRedirect: c.checkRedirect}
	return c, nil
}

// Close lets go of connections that are not in use.
func (c *Client) Close() { c.client.CloseIdleConnections() }

// authorities are those that sign certificates: the system's, and those of a
// file that the caller's environment names. nil stands for the system's.
func authorities(env []string) (*x509.CertPool, error) {
	for _, name := range []string{"SSL_CERT_FILE", "GIT_SSL_CAINFO"} {
		for _, kv := range env {
			file, ok := strings.CutPrefix(kv, name+"=")
			if !ok || file == "" {
				continue
			}
			roots, err := x509.SystemCertPool()
			if err != nil {
				roots = x509.NewCertPool()
			}
			pem, err := os.ReadFile(file)
			if err == nil && !roots.AppendCertsFromPEM(pem) {
				err = errors.New("it has no certificate in it")
			}
			if err != nil {
				return nil, &advice.Error{Kind: advice.Unreachable, Reason: advice.TLS, What: "the certificates that " + name + " names cannot be used", Why: err.Error(), Do: []string{"let it name a file of certificates (PEM), or unset it"}}
			}
			return roots, nil
		}
	}
	return nil, nil
}

// proxies decides by the caller's environment, as curl does.
func proxies(env []string) func(*url.URL) (*url.URL, error) {
	config := httpproxy.FromEnvironment()
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		switch strings.ToLower(name) {
		case "http_proxy":
			config.HTTPProxy = value
		case "https_proxy":
			config.HTTPSProxy = value
		case "no_proxy":
			config.NoProxy = value
		}
	}
	return config.ProxyFunc()
}

// isProxy reports whether addr (host:port) is the proxy that the user chose:
// it may be anywhere.
func (c *Client) isProxy(addr string) bool {
	for _, scheme := range []string{"http", "https"} {
		p, err := c.proxy(&url.URL{Scheme: scheme, Host: "proxied.invalid"})
		if err != nil || p == nil {
			continue
		}
		port := p.Port()
		if port == "" {
			port = map[string]string{"https": "443", "socks5": "1080"}[p.Scheme]
			if port == "" {
				port = "80"
			}
		}
		if addr == net.JoinHostPort(p.Hostname(), port) {
			return true
		}
	}
	return false
}

// checkURL refuses URLs that must not be followed. Behind a proxy, which
// connects for us, addresses can only be checked where the URL spells them.
func (c *Client) checkURL(u *url.URL) error {
	if u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("only https and http are followed, not %.80q", u.Scheme)
	}
	if u.Hostname() == "" || u.User != nil {
		return errors.New("the URL has no host, or a password in it")
	}
	return c.allowed.checkHost(u.Hostname())
}

// refusedRedirect is a redirect that is not followed.
type refusedRedirect struct{ error }

func (r refusedRedirect) Unwrap() error { return r.error }

func (c *Client) checkRedirect(r *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return refusedRedirect{fmt.Errorf("more than %d redirects", maxRedirects)}
	}
	if via[len(via)-1].URL.Scheme == "https" && r.URL.Scheme == "http" {
		return refusedRedirect{errors.New("redirected from https to http")}
	}
	r.Header.Del("Referer")
	if err := c.checkURL(r.URL); err != nil {
		return refusedRedirect{fmt.Errorf("redirected: %w", err)}
	}
	return nil
}

// checkProxy tells a proxy that cannot connect at the moment from one that does
// not want to.
func checkProxy(_ context.Context, _ *url.URL, _ *http.Request, r *http.Response) error {
	if r.StatusCode == http.StatusOK {
		return nil
	}
	status := "the proxy says " + plain.Short(r.Status, maxStatus)
	if isBusy(r.StatusCode) {
		return &busy{status: status}
	}
	return errors.New(status)
}
