// Package journal remembers what went wrong in a cache lately.
package journal

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Event is something that went wrong.
type Event struct {
	Time    time.Time `json:"time"`
	Key     string    `json:"key"`
	Dataset string    `json:"dataset,omitempty"` // "" is no particular one
	Name    string    `json:"name"`
	Text    string    `json:"text"`
}

// Most is how many events are remembered.
const Most = 100

// Journal is safe for concurrent use; its lock is a leaf.
type Journal struct {
	Log *slog.Logger

	mu     sync.Mutex // guards events
	events []Event
}

// Note remembers and logs what went wrong with a key's content, for the readers of
// a dataset, or for all when that is "". Without a name of the file the key is one.
func (j *Journal) Note(key annex.Key, dataset, name string, err error) {
	if name == "" {
		name = key.String()
	}
	j.Log.Error("content cannot be had", "file", name, "key", key, "err", err)
	e := Event{Time: time.Now(), Key: key.String(), Dataset: dataset, Name: name, Text: err.Error()}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, e)
	if n := len(j.events); n > Most {
		j.events = slices.Delete(j.events, 0, n-Most)
	}
}

// Events returns what went wrong, newest last.
func (j *Journal) Events() []Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]Event{}, j.events...)
}
