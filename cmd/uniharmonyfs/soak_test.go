package main_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// A soak is many readers of two datasets that share content, of datasets within each
// other and of a folder of datasets, under a small budget, while everything around them
// fails.
type soak struct {
	*trial // for its commands and checks; it has no strace
	net    *network
	mounts []*soakMount
	budget int64
	stall  time.Duration // nobody waits longer
	disk   func() int64  // bytes of content on the disk
	fills  atomic.Int64  // odd while the disk is filled
	where  atomic.Value  // what took the most room, as text

	reads, bytes, commands, events atomic.Int64
	looks                          atomic.Int64 // that were killed
	longest, most, booked, pins    atomic.Int64
	rss                            atomic.Int64

	countMu sync.Mutex
	errnos  map[string]int
	inodes  map[string]uint64 // the numbers of files, by path
	waits   []atomic.Int64    // since when each reader waits, in Unix nanoseconds; 0: it does not
}

// TestSoak does so for half a minute, or for as long as UNIHARMONYFS_TEST_LONG
// says, and prints a report.
func TestSoak(t *testing.T) {
	t.Parallel()
	files, readers, d := 1000, 16, 25*time.Second
	if long() {
		files, readers, d = 10_000, 64, longTime(t)
	}
	number := seed(t)
	s := newSoak(t, files, readers)
	stop := make(chan struct{})
	var working, watching sync.WaitGroup
	for r := range readers {
		rng := rand.New(rand.NewPCG(number, uint64(r)))
		working.Go(func() { s.reader(r, rng, stop) })
	}
	working.Go(func() { s.chaos(rand.New(rand.NewPCG(number, 1<<32)), stop) })
	watched := make(chan struct{})
	watching.Go(func() { s.watch(watched) })
	began := time.Now()
	time.Sleep(d)
	close(stop)
	working.Wait()
	close(watched)
	watching.Wait()
	s.atRest()
	s.report(time.Since(began))
	for _, p := range s.problems {
		t.Error(p)
	}
}

// soakFiles makes a dataset; two of them share half of their content.
func soakFiles(name string, n, shift int) maker.Dataset {
	d := files(name, n, 24_000)
	annexed := 0
	for i := range d.Files {
		if !d.Files[i].Annexed {
			continue
		}
		d.Files[i].Seed = uint64(annexed + shift)
		if annexed%100 == 7 {
			d.Files[i].Size = 1 << 20
		}
		d.Files[i].Image = annexed%2 == 0
		annexed++
	}
	return d
}

func newSoak(t *testing.T, n, readers int) *soak {
	t.Helper()
	u := newUser(t)
	s := &soak{
		trial: &trial{user: u, mnt: u.path("mnt-a")},
		stall: 2 * time.Minute, errnos: make(map[string]int), inodes: make(map[string]uint64), waits: make([]atomic.Int64, readers),
	}
	var first *maker.Made
	s.net, s.server, first = behind(t, u, soakFiles("a", n, 0))
	b := soakFiles("b", n/2, n/2)
	b.Remotes = first.Dataset.Remotes
	second, err := maker.Make(u.path("b-source"), b)
	if err != nil {
		t.Fatal(err)
	}
	s.server.Add(second)
	s.mounts = []*soakMount{flatMount(u.path("mnt-a"), first), flatMount(u.path("mnt-b"), second)}
	s.mounts = append(s.mounts, nestedMounts(t, u, s, first.Dataset.Remotes, n/10)...)
	s.budget = max(first.Bytes()/10, 8<<20)
	s.disk = ownDisk(t, u)
	for _, m := range s.mounts[:2] {
		u.must(s.mountArgs(m)...)
	}
	u.waitForBranch()
	for _, m := range s.mounts[2:] {
		u.must(s.mountArgs(m)...)
	}
	return s
}

func (s *soak) mountArgs(m *soakMount) []string {
	return append([]string{"mount", m.what, m.of, "--budget", fmt.Sprint(s.budget), "--timeout", "5s"}, m.at)
}

// reader reads files in every way until told to stop.
func (s *soak) reader(r int, rng *rand.Rand, stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		m := s.mounts[rng.IntN(len(s.mounts))]
		f := m.files[rng.IntN(len(m.files))]
		began := time.Now()
		s.waits[r].Store(began.UnixNano())
		n, err := s.once(f.path, f.content, rng)
		if err == nil {
			s.number(f.path)
		}
		s.waits[r].Store(0)
		s.longest.Store(max(s.longest.Load(), int64(time.Since(began))))
		s.reads.Add(1)
		s.bytes.Add(n)
		if err != nil {
			s.count(m, f.path, err)
			time.Sleep(10 * time.Millisecond) // nobody asks again at once
		}
	}
}

// soakErrnos are what a reader may see beside those of [errnos]: the mount is
// gone, or was when the mapping of a file was looked at.
var soakErrnos = append([]error{syscall.ENOENT, errBus}, errnos...)

func (s *soak) count(m *soakMount, name string, err error) {
	what, allowed := err.Error(), soakErrnos
	if m.nested {
		allowed = slices.Concat(soakErrnos, lookErrnos)
	}
	if i := slices.IndexFunc(allowed, func(ok error) bool { return errors.Is(err, ok) }); i >= 0 {
		what = allowed[i].Error()
	} else {
		s.problem("%s: %v", name, err)
	}
	s.countMu.Lock()
	defer s.countMu.Unlock()
	s.errnos[what]++
}

// chaos disturbs, one thing after the other, until told to stop.
func (s *soak) chaos(rng *rand.Rand, stop chan struct{}) {
	longest := 2 * time.Second
	if long() {
		longest = 12 * time.Second
	}
	some := func() { time.Sleep(time.Duration(rng.Int64N(int64(longest)))) }
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(rng.IntN(1500)) * time.Millisecond):
		}
		s.events.Add(1)
		switch rng.IntN(13) {
		case 0:
			s.kill()
			s.remount()
		case 1:
			s.net.down()
			some()
			s.net.up()
		case 2:
			faults := []publisher.Fault{publisher.Status(503, time.Second), publisher.Status(404, 0), publisher.Flip(1000), publisher.Drop(3000), publisher.Drop(-1), publisher.Stall(-1), publisher.Captive, publisher.Resize(50), publisher.IgnoreRange, publisher.Slow(50_000)}
			s.server.SetFault(publisher.Always(faults[rng.IntN(len(faults))]))
			some()
			s.server.SetFault(nil)
		case 3:
			s.fillDisk(some)
		case 4:
			m := s.mounts[1+rng.IntN(len(s.mounts)-1)]
			s.say([][]string{{"unmount", m.at}, {"unmount", "--clean", m.at}}[rng.IntN(2)]...)
			s.say(s.mountArgs(m)...)
		case 5:
			s.gitFault(rng)
			some()
			s.server.SetGitFault(nil)
		case 6, 7:
			s.firstLooks(rng)
		default:
			s.command(rng)
		}
	}
}

func (s *soak) say(args ...string) int {
	s.commands.Add(1)
	return s.attempt(args...)
}

// command is what people do while they read.
func (s *soak) command(rng *rand.Rand) {
	m := s.mounts[rng.IntN(len(s.mounts))]
	path := m.files[rng.IntN(len(m.files))].path
	switch rng.IntN(6) {
	case 0:
		s.say("pin", path)
	case 1:
		s.say("unpin", m.at)
	case 2:
		s.say("evict", m.at)
	case 3:
		if m.nested {
			s.say("verify", "--repair", m.at)
			return
		}
		s.say("verify", m.what, m.of)
	case 4:
		s.say("prefetch", path)
	case 5:
		s.say("status", path)
	}
}

// fillDisk takes all the space of the cache's disk for a while.
func (s *soak) fillDisk(some func()) {
	filler := filepath.Join(s.cache, "filler")
	var st syscall.Statfs_t
	if syscall.Statfs(s.cache, &st) != nil || st.Type != 0x01021994 { // tmpfs
		return
	}
	f, err := os.OpenFile(filler, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	s.fills.Add(1) // the filler is no content
	// What downloads take at the same moment makes a first try fail.
	for left := int64(0); left < 32<<20; left += 1 << 20 {
		if syscall.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Bsize-left) == nil {
			break
		}
	}
	some()
	os.Remove(filler)
	f.Truncate(0)
	s.fills.Add(1)
}

// remount brings all mounts back after the daemon was killed.
func (s *soak) remount() {
	for _, m := range s.mounts {
		for try := 0; ; try++ {
			code := s.say(s.mountArgs(m)...)
			mounts, _ := os.ReadFile("/proc/self/mountinfo")
			if code == 0 || strings.Contains(string(mounts), " "+m.at+" ") && s.daemon() != 0 {
				break
			}
			if try == 5 {
				s.problem("%s cannot be mounted again", m.at)
				break
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
}

// watch measures, and sees that nobody waits for too long.
func (s *soak) watch(done chan struct{}) {
	for tick := 0; ; tick++ {
		select {
		case <-done:
			return
		case <-time.After(50 * time.Millisecond):
		}
		if before := s.fills.Load(); before%2 == 0 {
			// A filler that came while it was measured is no content.
			if n := s.disk(); s.fills.Load() == before && n > s.most.Load() {
				s.most.Store(n)
				s.where.Store(usage(s.cache))
			}
		}
		now := time.Now()
		for r := range s.waits {
			since := s.waits[r].Load()
			if since != 0 && now.Sub(time.Unix(0, since)) > s.stall {
				s.problem("a reader waits for %v", now.Sub(time.Unix(0, since)))
				syscall.Kill(s.daemon(), syscall.SIGQUIT) // its stacks go to the log
				s.waits[r].Store(0)
			}
		}
		if tick%10 == 0 {
			s.measure()
		}
	}
}

// measure asks the daemon, if there is one, for its figures.
func (s *soak) measure() {
	pid := s.daemon()
	if pid == 0 {
		return
	}
	if raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil {
		for line := range strings.Lines(string(raw)) {
			var kb int64
			if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
				s.rss.Store(max(s.rss.Load(), kb<<10))
			}
		}
	}
	st, err := s.statusOf()
	if err != nil {
		return // it is being killed
	}
	s.pins.Store(max(s.pins.Load(), st.Pinned))
	s.booked.Store(max(s.booked.Load(), st.Used+st.Reserved-st.Pinned))
	if over := st.Used + st.Reserved - max(st.Budget, st.Pinned); st.Budget == s.budget && over > 0 {
		s.problem("%d bytes are used, %d reserved and %d pinned of %d", st.Used, st.Reserved, st.Pinned, st.Budget)
	}
}

// atRest sees that with everything healthy all is well and nothing is left.
func (s *soak) atRest() {
	s.server.SetFault(nil)
	s.server.SetGitFault(nil)
	os.Remove(filepath.Join(s.cache, "filler"))
	s.remount()
	s.lookAtAll()
	for _, m := range s.mounts {
		s.should("unpin", m.at)
	}
	s.rereadAll()
	s.partsOnce()
	s.books("at rest", false)
	eventually(s.t, "no file of the cache is open", func() bool { return s.openObjects() == 0 })
	for _, m := range s.mounts {
		s.should("unmount", "--clean", m.at)
	}
	if left := namesIn(s.cache); len(left) > 0 {
		s.should("clean", "--all")
		if left = namesIn(s.cache); len(left) > 0 {
			s.problem("left in the cache: %v", left)
		}
	}
}

// usage says what takes the room of a directory.
func usage(dir string) string {
	out, _ := exec.Command("du", "-k", "-d", "1", "--all", dir).Output()
	return strings.Join(strings.Fields(strings.ReplaceAll(string(out), dir, "")), " ")
}

func namesIn(dir string) (names []string) {
	all, _ := os.ReadDir(dir)
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

// openObjects counts the content that the daemon has open.
func (s *soak) openObjects() (n int) {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", s.daemon()))
	for _, fd := range fds {
		to, _ := os.Readlink(fd)
		if strings.HasPrefix(to, filepath.Join(s.cache, "objects")) || strings.HasPrefix(to, filepath.Join(s.cache, "partial")) {
			n++
		}
	}
	return n
}

// rereadAll reads everything: nothing that happened keeps a file away. A
// failure of a moment ago may be remembered for some seconds.
func (s *soak) rereadAll() {
	for _, m := range s.mounts {
		var all sync.WaitGroup
		for k := range 8 {
			rng := rand.New(rand.NewPCG(uint64(k), 0))
			all.Go(func() {
				for j := k; j < len(m.files); j += 8 {
					f := m.files[j]
					var err error
					for range 60 {
						if _, err = s.whole(f.path, f.content, rng); err == nil || errors.Is(err, errWrong) {
							break
						}
						time.Sleep(500 * time.Millisecond)
					}
					if err != nil {
						s.problem("at rest %s: %v", f.path, err)
					}
					s.number(f.path)
				}
			})
		}
		all.Wait()
	}
}

func (s *soak) report(took time.Duration) {
	var b strings.Builder
	fmt.Fprintf(&b, "soak of %v: %d reads, %.1f MB; %d disturbances, %d commands, %d looks killed\n", took.Round(time.Second), s.reads.Load(), float64(s.bytes.Load())/1e6, s.events.Load(), s.commands.Load(), s.looks.Load())
	fmt.Fprintf(&b, "longest wait %v; %d bytes sent by the server\n", time.Duration(s.longest.Load()).Round(time.Millisecond), s.server.Counts().Bytes)
	fmt.Fprintf(&b, "budget %d: at most %d booked beside pins, %d on the disk; peak memory %d MiB\n", s.budget, s.booked.Load(), s.most.Load(), s.rss.Load()>>20)
	for _, what := range slices.Sorted(maps.Keys(s.errnos)) {
		fmt.Fprintf(&b, "  %6d × %s\n", s.errnos[what], what)
	}
	fmt.Fprintf(&b, "%d problems", len(s.problems))
	s.t.Log(b.String())
	// The lists of pins and settings lie there, too.
	if over := s.most.Load() - max(s.budget, s.pins.Load()); over > 256<<10 {
		s.problem("%d bytes over the budget on the disk: %v", over, s.where.Load())
	}
	if s.reads.Load() == 0 || s.events.Load() == 0 {
		s.problem("nothing happened")
	}
}
