package journal

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// The newest events are remembered, in their order, and all are in the log.
func TestJournal(t *testing.T) {
	var log strings.Builder
	j := Journal{Log: slog.New(slog.NewTextHandler(&log, nil))}
	if e := j.Events(); e == nil || len(e) != 0 {
		t.Errorf("at first %v", e)
	}
	key := annex.GitKey("60034b8747ef3da003f5c9f9fc576d2f3a241989", 3)
	for i := range Most + 5 {
		j.Note(key, "ds", fmt.Sprint(i), errors.New("no"))
	}
	events := j.Events()
	if len(events) != Most || events[0].Name != "5" || events[Most-1].Name != fmt.Sprint(Most+4) {
		t.Errorf("%d events, from %s", len(events), events[0].Name)
	}
	if n := strings.Count(log.String(), "\n"); n != Most+5 {
		t.Errorf("%d lines in the log", n)
	}
	j.Note(key, "", "", errors.New("no"))
	if last := j.Events()[Most-1]; last.Name != key.String() || last.Key != key.String() || last.Text != "no" || last.Time.IsZero() {
		t.Errorf("without a name it is %+v", last)
	}
	events[0].Name = "changed"
	if j.Events()[0].Name == "changed" {
		t.Error("whoever asks may change it")
	}
}

func TestJournalConcurrently(t *testing.T) {
	j := Journal{Log: slog.New(slog.DiscardHandler)}
	key := annex.GitKey("60034b8747ef3da003f5c9f9fc576d2f3a241989", 3)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				j.Note(key, "ds", "", errors.New("no"))
				j.Events()
			}
		})
	}
	all.Wait()
	if n := len(j.Events()); n != Most {
		t.Errorf("%d events", n)
	}
}
