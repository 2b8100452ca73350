package cachedir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Settings are what the user said about a cache, kept between daemons.
type Settings struct {
	Budget int64   `json:"budget,omitempty"` // bytes; 0 is the default
	Speed  float64 `json:"speed,omitempty"`  // of the last download, in bytes a second
}

const settingsName = "settings.json"

// Settings reads the settings. With an error they are the default ones.
func (d Dir) Settings() (s Settings, err error) {
	raw, err := os.ReadFile(d.path(settingsName))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	if err != nil {
		return Settings{}, fmt.Errorf("%s: %w", d.path(settingsName), err)
	}
	return s, nil
}

// SaveSettings writes the settings: a torn file would silently mean the default.
func (d Dir) SaveSettings(s Settings) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return d.replace(settingsName, settingsName+".new", raw)
}
