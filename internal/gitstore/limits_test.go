package gitstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestLimits(t *testing.T) {
	dir := newRepository(t)
	gitRun(t, dir, "config", "core.compression", "0") // for speed
	big := make([]byte, 9<<20)                        // more than go-git's backend holds in memory
	if _, err := rand.Read(big); err != nil {
		t.Fatal(err)
	}
	id := OID(gitIn(t, dir, string(big), "hash-object", "-w", "--stdin"))
	similar := append(bytes.Clone(big), "and a little more"...)
	id2 := OID(gitIn(t, dir, string(similar), "hash-object", "-w", "--stdin"))
	small := OID(gitRun(t, dir, "rev-parse", "main:empty"))
	for _, packed := range []bool{false, true} {
		if packed {
			for _, id := range []OID{id, id2} {
				gitRun(t, dir, "update-ref", "refs/keep/"+string(id), string(id))
			}
			gitRun(t, dir, "repack", "-qad")
		}
		t.Run(fmt.Sprintf("packed=%v", packed), func(t *testing.T) {
			backends(t, func(t *testing.T, o Options) {
				o.MaxObject = 1 << 20
				s := open(t, dir, o)
				ctx := context.Background()
				err := s.ReadAll(ctx, []OID{small, id, small}, func(i int, _ string, _ []byte) error {
					if i > 0 {
						t.Errorf("object %d is delivered", i)
					}
					return nil
				})
				if !errors.Is(err, ErrTooLarge) {
					t.Errorf("read: %v", err)
				}
				for want, id := range map[*[]byte]OID{&big: id, &similar: id2} {
					var b bytes.Buffer
					if n, err := s.Copy(ctx, id, &b); err != nil || n != int64(len(*want)) || !bytes.Equal(b.Bytes(), *want) {
						t.Errorf("copied %d of %d bytes, %v", n, len(*want), err)
					}
				}
				full := errors.New("disk is full")
				if n, err := s.Copy(ctx, id, &limitedWriter{left: 100000, err: full}); !errors.Is(err, full) || n != 100000 {
					t.Errorf("copied %d bytes, %v", n, err)
				}
				if _, err := s.Copy(ctx, OID(gitRun(t, dir, "rev-parse", "main")), io.Discard); err == nil {
					t.Error("a commit is copied")
				}
				if _, _, err := s.Read(ctx, small); err != nil {
					t.Errorf("the store is of no use afterwards: %v", err)
				}
			})
		})
	}
}

type limitedWriter struct {
	left int
	err  error
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		n := w.left
		w.left = 0
		return n, w.err
	}
	w.left -= len(p)
	return len(p), nil
}
