package daemon

import (
	"encoding/json"
	"os"
)

// settings are what the user said about a cache, kept between daemons.
type settings struct {
	Budget int64   `json:"budget,omitempty"` // bytes; 0 is the default
	Speed  float64 `json:"speed,omitempty"`  // of the last download, in bytes a second
}

func (d *daemon) loadSettings() (s settings) {
	raw, err := os.ReadFile(d.dir.path("settings.json"))
	if err != nil {
		return s
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		d.log.Warn("settings are unreadable: defaults are used", "err", err)
		return settings{}
	}
	return s
}

// change changes the settings now and for later daemons.
func (d *daemon) change(fn func(*settings)) error {
	d.settingsMu.Lock()
	defer d.settingsMu.Unlock()
	s := d.loadSettings()
	fn(&s)
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	// A torn file would silently mean the default.
	return d.dir.replace("settings.json", raw)
}

func (d *daemon) setBudget(bytes int64) error {
	if err := d.change(func(s *settings) { s.Budget = bytes }); err != nil {
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
	if err := d.change(func(s *settings) { s.Speed = float64(bytes) / seconds }); err != nil {
		d.log.Warn("settings not written", "err", err)
	}
}

// estimate returns how many seconds the fetching of bytes may take, or 0.
func (d *daemon) estimate(bytes int64) float64 {
	if speed := d.loadSettings().Speed; speed > 0 {
		return float64(bytes) / speed
	}
	return 0
}
