package main_test

import (
	"encoding/json"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// A soakMount is a mount of a soak.
type soakMount struct {
	at       string
	what, of string // --dataset or --catalog, and its value
	nested   bool   // a look into what is in it may need the network
	files    []soakFile
}

type soakFile struct {
	path    string
	content maker.Content
}

// flatMount is one of a dataset on this machine.
func flatMount(at string, made *maker.Made) *soakMount {
	m := &soakMount{at: at, what: "--dataset", of: made.Dir}
	m.add("", made)
	return m
}

func (m *soakMount) add(within string, made *maker.Made) {
	for i := range made.Files {
		f := &made.Files[i]
		if f.Commit == "" && !strings.HasPrefix(f.Path, ".") {
			m.files = append(m.files, soakFile{filepath.Join(m.at, within, f.Path), f.Content})
		}
	}
}

// nestedMounts are one of datasets within each other, and a folder of some of them. Git
// has them through the soak's network.
func nestedMounts(t testing.TB, u *user, s *soak, remotes []maker.Remote, files int) []*soakMount {
	n := nest(t, u, s.server, remotes, files, 24_000)
	url := "http://" + s.net.addr + "/git/topmost.git"
	top := &soakMount{at: u.path("mnt-top"), what: "--dataset", of: url, nested: true}
	folder := &soakMount{at: u.path("mnt-members"), what: "--catalog", of: url, nested: true}
	for at, made := range n.parts {
		top.add(at, made)
		if first, _, _ := strings.Cut(at, "/"); first == "mid" || first == "leaf" {
			folder.add(at, made)
		}
	}
	return []*soakMount{top, folder}
}

// lookErrnos are what a reader may see beside those of [soakErrnos] where somebody has
// to look into a dataset first.
var lookErrnos = []error{syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EREMOTEIO}

// number sees that a file has the number that it always had. It may be gone meanwhile.
func (s *soak) number(path string) {
	info, err := os.Lstat(path)
	if err != nil {
		return
	}
	ino := info.Sys().(*syscall.Stat_t).Ino
	s.countMu.Lock()
	defer s.countMu.Unlock()
	if before, ok := s.inodes[path]; ok && before != ino {
		s.problem("%s has the number %d, and had %d", path, ino, before)
	}
	s.inodes[path] = ino
}

// gitFault makes git fail at the server, for one dataset or for all.
func (s *soak) gitFault(rng *rand.Rand) {
	faults := []publisher.Fault{publisher.Status(503, 0), publisher.Status(404, 0), publisher.Captive, publisher.Drop(-1), publisher.Stall(-1)}
	fault, of := faults[rng.IntN(len(faults))], []string{"", "/leaf.git/", "/middle.git/"}[rng.IntN(3)]
	s.server.SetGitFault(func(r publisher.Request) publisher.Fault {
		if strings.Contains(r.Path, of) {
			return fault
		}
		return nil
	})
}

// firstLooks takes away what is known of datasets within others, and kills programs that
// look into them, while git may fail.
func (s *soak) firstLooks(rng *rand.Rand) {
	nested := s.mounts[2:]
	for _, m := range nested {
		s.say("unmount", "--force", m.at)
	}
	s.say("clean", "leaf")
	s.say("clean", "middle")
	switch rng.IntN(3) {
	case 0:
		s.gitFault(rng)
		defer s.server.SetGitFault(nil)
	case 1:
		s.net.down()
		defer s.net.up()
	}
	for _, m := range nested {
		s.say(s.mountArgs(m)...)
	}
	for range 6 {
		cmd := exec.Command("find", nested[rng.IntN(2)].at, "-size", "+1c")
		if cmd.Start() != nil {
			return
		}
		time.Sleep(time.Duration(rng.Int64N(int64(150 * time.Millisecond))))
		cmd.Process.Kill()
		ended := make(chan struct{})
		go func() { cmd.Wait(); close(ended) }()
		select {
		case <-ended:
			s.looks.Add(1)
		case <-time.After(s.stall):
			s.problem("a program that looks cannot be killed")
			syscall.Kill(s.daemon(), syscall.SIGQUIT) // its stacks go to the log
			<-ended
		}
	}
}

// lookAtAll looks into all datasets. A failure of a moment ago may be remembered for
// some seconds.
func (s *soak) lookAtAll() {
	for _, m := range s.mounts {
		var err error
		for range 60 {
			if err = filepath.WalkDir(m.at, func(_ string, _ fs.DirEntry, err error) error { return err }); err == nil {
				break
			}
			time.Sleep(500 * time.Millisecond)
		}
		if err != nil {
			s.problem("at rest: %v", err)
		}
	}
}

// partsOnce sees that a mount has each of its datasets once.
func (s *soak) partsOnce() {
	var st struct {
		Mounts []struct {
			Target string
			Opened []struct{ Path string }
		}
	}
	if err := json.Unmarshal([]byte(s.should("status", "--json")), &st); err != nil {
		s.problem("status: %v", err)
	}
	parts := 0
	for _, m := range st.Mounts {
		times := make(map[string]int)
		for _, p := range m.Opened {
			if times[p.Path]++; times[p.Path] > 1 {
				s.problem("%s has %s %d times", m.Target, p.Path, times[p.Path])
			}
		}
		parts += len(times)
	}
	if parts != 4+3 {
		s.problem("at rest %d datasets are opened", parts)
	}
}
