package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/plain"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// said is an error whose text is in part a stranger's, made harmless to show.
type said struct{ error }

func (s said) Error() string { return plain.Short(s.error.Error(), maxSaid) }
func (s said) Unwrap() error { return s.error }

// maxSaid is how much of an error's text is kept, in bytes.
const maxSaid = 600

// harmless makes an error's text harmless to show. A timeout of net passes for
// that of a context; this one must not, which would be the asker's own.
func harmless(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = errors.New(err.Error())
	}
	return said{err}
}

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
		return harmless(err)
	case isUntrusted(err):
		return advise("no trustworthy connection", a.s.url, err.Error())
	case !isPassing(err):
		return harmless(err)
	}
	if isUnmet(err) {
		a.s.c.hosts.note(host, harmless(err))
	}
	return source.Outage(harmless(err))
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

// IsUnreached reports whether a failure may pass by itself, as a network that
// is gone for a while.
func IsUnreached(err error) bool {
	var known *advice.Error
	return source.IsOutage(err) || errors.As(err, &known) && known.Reason == advice.Network
}
