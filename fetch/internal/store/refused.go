package store

import (
	"context"
	"errors"
	"io"

	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// Refused returns a place that is not asked, as a source that says why.
func Refused(at, why string) source.Source { return &refused{Name(at), why} }

type refused struct{ name, why string }

func (s *refused) String() string { return s.name }
func (s *refused) Exact() bool    { return false }

func (s *refused) Fetch(ctx context.Context, _, _ int64, _ io.Writer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.New(s.why)
}
