package daemon

import "github.com/uniharmony/uniharmonyfs/internal/cachedir"

func (d *daemon) settings() cachedir.Settings {
	s, err := d.dir.Settings()
	if err != nil {
		d.log.Warn("settings are unreadable: defaults are used", "err", err)
	}
	return s
}

// change changes the settings now and for later daemons.
func (d *daemon) change(fn func(*cachedir.Settings)) error {
	d.settingsMu.Lock()
	defer d.settingsMu.Unlock()
	s := d.settings()
	fn(&s)
	return d.dir.SaveSettings(s)
}

func (d *daemon) setBudget(bytes int64) error {
	if err := d.change(func(s *cachedir.Settings) { s.Budget = bytes }); err != nil {
		return err
	}
	d.cache.SetBudget(bytes)
	return nil
}

// telling is how many bytes a download must have fetched to tell a speed.
const telling = 1 << 20

func (d *daemon) noteSpeed(bytes int64, seconds float64) {
	if bytes < telling || seconds <= 0 {
		return
	}
	if err := d.change(func(s *cachedir.Settings) { s.Speed = float64(bytes) / seconds }); err != nil {
		d.log.Warn("settings not written", "err", err)
	}
}

// estimate returns how many seconds the fetching of bytes may take, or 0.
func (d *daemon) estimate(bytes int64) float64 {
	if speed := d.settings().Speed; speed > 0 {
		return float64(bytes) / speed
	}
	return 0
}
