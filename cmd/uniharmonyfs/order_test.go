package main_test

import (
	"encoding/json"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// kept is how a file stands.
type kept struct{ cached, pinned bool }

// oneByOne is what commands do to a file when one comes after the other. A
// command on several files takes them one by one; pin pins, and then fetches.
var oneByOne = porcupine.Model{
	Init: func() any { return kept{} },
	Step: func(state, input, output any) (bool, any) {
		s := state.(kept)
		switch input {
		case "pin":
			s.pinned = true
		case "unpin":
			s.pinned = false
		case "prefetch":
			s.cached = true
		case "evict":
			s.cached = s.cached && s.pinned
		case "status":
			return output == s, s
		}
		return true, s
	},
}

// Commands of several people at once have effects as if one came after the other.
func TestCommandsAsIfOneByOne(t *testing.T) {
	const clients, commands, among = 6, 40, 3
	u := newUser(t)
	_, m := serve(t, u, files("order", among, 200_000))
	mnt := u.path("mnt")
	u.must("mount", "--no-readahead", "--dataset", m.Dir, mnt)
	u.waitForBranch()
	var paths []string
	for _, i := range annexedFiles(m) {
		paths = append(paths, filepath.Join(mnt, m.Files[i].Path))
	}
	var mu sync.Mutex // guards the following
	history := make(map[string][]porcupine.Operation)
	began := time.Now()
	note := func(client int, does, path string, called time.Duration, saw any) {
		mu.Lock()
		defer mu.Unlock()
		history[path] = append(history[path], porcupine.Operation{ClientId: client, Input: does, Output: saw, Call: int64(called), Return: int64(time.Since(began))})
	}
	var all sync.WaitGroup
	for client := range clients {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(client)))
			for range commands {
				chosen := slices.Clone(paths)
				rng.Shuffle(among, func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
				chosen = chosen[:1+rng.IntN(among)]
				does := [...]string{"pin", "unpin", "prefetch", "evict", "status", "status", "status"}[rng.IntN(7)]
				called := time.Since(began)
				if does == "status" {
					for path, saw := range u.seen(chosen) {
						note(client, does, path, called, saw)
					}
					continue
				}
				args := append([]string{does}, chosen...)
				if does == "pin" && rng.IntN(2) == 0 {
					args = append([]string{"pin", "--no-fetch"}, chosen...)
				}
				r := u.run(args...)
				if r.code != 0 {
					t.Errorf("%v: exit %d: %s", args, r.code, r.errout)
				}
				for _, path := range chosen {
					note(client, does, path, called, nil)
					if does == "pin" && args[1] != "--no-fetch" {
						note(client, "prefetch", path, called, nil)
					}
				}
			}
		})
	}
	all.Wait()
	for path, h := range history {
		if how := porcupine.CheckOperationsTimeout(oneByOne, h, time.Minute); how != porcupine.Ok {
			t.Errorf("%s: no order explains what was seen (%s)", path, how)
			slices.SortFunc(h, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
			for _, o := range h {
				t.Log(time.Duration(o.Call), time.Duration(o.Return), o.ClientId, o.Input, o.Output)
			}
		}
	}
	u.must("unmount", mnt)
}

// seen returns how files stand.
func (u *user) seen(paths []string) map[string]any {
	var s struct {
		Paths []struct {
			Path, Mount, State string
			Pinned             bool
		}
	}
	out := u.must(append([]string{"status", "--json"}, paths...)...)
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&s); err != nil || len(s.Paths) != len(paths) {
		u.t.Errorf("%d of %d files in status: %v", len(s.Paths), len(paths), err)
	}
	saw := make(map[string]any)
	for _, p := range s.Paths {
		saw[filepath.Join(p.Mount, p.Path)] = kept{p.State == "cached", p.Pinned}
	}
	return saw
}
