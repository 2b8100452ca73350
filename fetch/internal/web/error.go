package web

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/remedy"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// failed sorts out an error of the HTTP client. What may pass by itself is an
// outage: that no connection came about, or broke. All else is final: what our
// own rules forbid, a server that cannot be trusted, a malformed reply.
func (a *attempts) failed(err error) error {
	host := a.u.Host
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
		// After a redirect it is the last host that failed.
		if at, parseErr := url.Parse(u.URL); parseErr == nil {
			host = at.Host
		}
	}
	switch {
	case errors.Is(err, ErrAddress) || errors.As(err, new(refusedRedirect)):
		return remedy.Harmless(err)
	case isUntrusted(err):
		return remedy.Of("no trustworthy connection", a.s.url, err.Error())
	case !isPassing(err):
		return remedy.Harmless(err)
	}
	if isUnmet(err) {
		a.s.c.hosts.note(host, remedy.Harmless(err))
	}
	return source.Outage(remedy.Harmless(err))
}

// isPassing reports whether a failure of a connection may pass by itself.
func isPassing(err error) bool {
	var timeout net.Error
	var b *busy
	var no syscall.Errno
	return isUnmet(err) || errors.As(err, &b) || errors.As(err, &no) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &timeout) && timeout.Timeout() || errors.As(err, new(*net.OpError))
}

// isUntrusted reports whether TLS did not come about since the two sides do not
// agree, or the server is not who it should be.
func isUntrusted(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error") {
		return true // crypto/tls's words for alerts
	}
	return errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(tls.RecordHeaderError)) || errors.Is(err, http.ErrSchemeMismatch)
}

// isUnmet reports whether no connection came about.
func isUnmet(err error) bool {
	var op *net.OpError
	return errors.As(err, new(*net.DNSError)) || errors.Is(err, syscall.ECONNREFUSED) ||
		errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect")
}
