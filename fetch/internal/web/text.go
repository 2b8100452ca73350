package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/remedy"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// Text returns all of what is at a URL, if that is no more than most bytes. It asks
// once, for as long as the timeout.
func (c *Client) Text(ctx context.Context, at string, most int64) ([]byte, error) {
	u, err := url.Parse(at)
	if err != nil {
		return nil, errors.New("the URL is malformed")
	}
	if err := c.checkURL(u); err != nil {
		return nil, err
	}
	if err := c.hosts.check(u.Host, at); err != nil {
		return nil, source.Outage(err)
	}
	asking, cancel := context.WithTimeoutCause(ctx, c.timeout, errSlow)
	defer cancel()
	text, err := c.text(asking, u, most)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case asking.Err() != nil:
		return nil, source.Outage(errSlow)
	}
	return text, err
}

func (c *Client) text(ctx context.Context, u *url.URL, most int64) ([]byte, error) {
	req, err := newRequest(ctx, u)
	if err != nil {
		return nil, err
	}
	a := &attempts{s: &Source{c: c, url: u.String()}, u: u, size: unknown}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, a.failed(err)
	}
	defer resp.Body.Close()
	c.hosts.note(resp.Request.URL.Host, nil)
	if err := a.checkStatus(resp); err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New("the server sends a part, unasked")
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return nil, source.Outage(remedy.Harmless(err))
	}
	if int64(len(text)) > most {
		return nil, fmt.Errorf("it has more than %d bytes", most)
	}
	return text, nil
}
