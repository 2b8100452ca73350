package daemon

import (
	"encoding/json"
	"os"
)

// settings are what the user said about a cache, kept between daemons.
type settings struct {
	Budget int64 `json:"budget,omitempty"` // bytes; 0 is the default
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

// setBudget changes the budget now and for later daemons.
func (d *daemon) setBudget(bytes int64) error {
	raw, err := json.Marshal(settings{Budget: bytes})
	if err != nil {
		return err
	}
	// Old or new, never half: a torn file would silently mean the default.
	tmp := d.dir.path("settings.json.new")
	if err := os.WriteFile(tmp, raw, 0o600); err != nil {
		return err
	}
	if err := os.Rename(tmp, d.dir.path("settings.json")); err != nil {
		return err
	}
	d.cache.SetBudget(bytes)
	return nil
}
