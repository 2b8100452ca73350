package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

var (
	errWrong = errors.New("wrong bytes")
	errBus   = errors.New("a mapping that cannot be read (SIGBUS)")
)

// once reads of a file in one of the ways that programs do.
func (s *soak) once(path string, want maker.Content, rng *rand.Rand) (n int64, err error) {
	switch rng.IntN(8) {
	case 0, 1, 2:
		return s.whole(path, want, rng)
	case 3:
		return s.mapped(path, want)
	case 4:
		return s.random(path, want, rng)
	}
	return s.part(path, want, 0, 352)
}

func (s *soak) whole(path string, want maker.Content, _ *rand.Rand) (int64, error) {
	got, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return int64(len(got)), agree(got, want, 0, want.Size())
}

// agree compares what was read from offset off with what is there, of which n
// bytes were asked for.
func agree(got []byte, want maker.Content, off, n int64) error {
	n = min(n, want.Size()-off)
	if int64(len(got)) != n {
		return fmt.Errorf("%d bytes instead of %d, and no error", len(got), n)
	}
	right := make([]byte, n)
	if _, err := want.ReadAt(right, off); err != nil && err != io.EOF {
		return err
	}
	if !bytes.Equal(got, right) {
		return errWrong
	}
	return nil
}

func (s *soak) part(path string, want maker.Content, off, n int64) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	got, err := io.ReadAll(io.NewSectionReader(f, off, n))
	if err != nil {
		return 0, err
	}
	return int64(len(got)), agree(got, want, off, n)
}

func (s *soak) random(path string, want maker.Content, rng *rand.Rand) (sum int64, err error) {
	for range 4 {
		if want.Size() == 0 {
			return sum, nil
		}
		n, err := s.part(path, want, rng.Int64N(want.Size()), 1+rng.Int64N(20_000))
		sum += n
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

func (s *soak) mapped(path string, want maker.Content) (n int64, err error) {
	if want.Size() == 0 {
		return 0, nil // nothing can be mapped
	}
	cmd := exec.Command("python3", "-c", mapper, path)
	cmd.Stdin = strings.NewReader(fmt.Sprintf("0 %d\n", want.Size()))
	var said bytes.Buffer
	cmd.Stderr = &said
	got, err := cmd.Output()
	if err == nil {
		return want.Size(), agree(got, want, 0, want.Size())
	}
	if cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() == syscall.SIGBUS {
		return 0, errBus
	}
	for _, ok := range slices.Concat(soakErrnos, lookErrnos) {
		if strings.Contains(strings.ToLower(said.String()), strings.ToLower(ok.Error())) {
			return 0, ok
		}
	}
	return 0, fmt.Errorf("%w: %s", err, said.String())
}

// statusOf asks a daemon for its figures; it may be on its way out.
func (s *soak) statusOf() (store, error) {
	ctx, cancel := context.WithTimeout(context.Background(), stepLimit)
	defer cancel()
	out, err := s.user.command(ctx, "status", "--json").Output()
	if err != nil {
		if ctx.Err() != nil {
			s.problem("status hangs")
			time.Sleep(time.Second)
		}
		return store{}, err
	}
	var st struct{ Store store }
	err = json.Unmarshal(out, &st)
	return st.Store, err
}
