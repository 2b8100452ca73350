package daemon

import (
	"log/slog"
	"sync"

	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
)

// settings are what is kept for later daemons. They are safe for concurrent use.
type settings struct {
	dir   cachedir.Dir
	cache *cache.Cache
	log   *slog.Logger
	mu    sync.Mutex // held while they change
}

func (s *settings) get() cachedir.Settings {
	now, err := s.dir.Settings()
	if err != nil {
		s.log.Warn("settings are unreadable: defaults are used", "err", err)
	}
	return now
}

func (s *settings) change(fn func(*cachedir.Settings)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.get()
	fn(&now)
	return s.dir.SaveSettings(now)
}

// SetBudget sets the budget of the cache, in bytes.
func (s *settings) SetBudget(bytes int64) error {
	if err := s.change(func(now *cachedir.Settings) { now.Budget = bytes }); err != nil {
		return err
	}
	s.cache.SetBudget(bytes)
	return nil
}

// Speed is that of the last download.
func (s *settings) Speed() float64 { return s.get().Speed }

// SetSpeed keeps the speed of a download.
func (s *settings) SetSpeed(bytesPerSecond float64) {
	if err := s.change(func(now *cachedir.Settings) { now.Speed = bytesPerSecond }); err != nil {
		s.log.Warn("settings not written", "err", err)
	}
}
