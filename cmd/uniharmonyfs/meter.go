package main

import (
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/control"
)

// meter measures the speed of what progress reports tell. The zero value
// works.
type meter struct {
	phase control.Phase
	at    time.Time
	done  int64
	rate  float64 // bytes a second: a running mean
}

// measured is progress for programs.
type measured struct {
	control.Progress
	Speed float64 `json:"speed"`         // bytes a second
	ETA   float64 `json:"eta,omitempty"` // seconds; unknown when left out
}

// measureEvery is the shortest time that a speed is taken of.
const measureEvery = 500 * time.Millisecond

func (m *meter) next(p control.Progress, now time.Time) measured {
	if p.Phase != m.phase {
		*m = meter{phase: p.Phase, at: now, done: p.Done}
	}
	if elapsed := now.Sub(m.at); elapsed >= measureEvery {
		rate := float64(max(p.Done-m.done, 0)) / elapsed.Seconds()
		if m.rate > 0 {
			rate = 0.7*m.rate + 0.3*rate
		}
		m.at, m.done, m.rate = now, p.Done, rate
	}
	out := measured{Progress: p, Speed: m.rate}
	if m.rate > 0 && p.Total > p.Done {
		out.ETA = float64(p.Total-p.Done) / m.rate
	}
	return out
}
