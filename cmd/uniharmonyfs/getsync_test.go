package main_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
)

// trace writes down the system calls of the user's daemon while fn runs.
func (u *user) trace(calls string, fn func()) (log string) {
	u.t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		u.t.Skip("skipped: strace is not installed")
	}
	out := u.path("trace")
	cmd := exec.Command(strace, "-f", "-y", "-s", "300", "-e", "trace="+calls, "-o", out, "-p", strconv.Itoa(u.daemon()))
	said, err := cmd.StderrPipe()
	if err != nil {
		u.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	line, err := bufio.NewReader(said).ReadString('\n')
	if err != nil || !strings.Contains(line, "attached") {
		cmd.Process.Kill()
		cmd.Wait()
		u.t.Skipf("skipped: strace cannot look at a process: %s%v", line, err)
	}
	fn()
	cmd.Process.Signal(os.Interrupt)
	cmd.Wait()
	content, err := os.ReadFile(out)
	if err != nil {
		u.t.Fatal(err)
	}
	return string(content)
}

// A download's file gets its name when its content is on the disk, and it is
// done when the names are: a power cut leaves no empty file.
func TestGetOutlastsAPowerCut(t *testing.T) {
	u := newUser(t)
	_, m := serve(t, u, demo.Dataset())
	for _, mode := range []string{"--plain", "--direct"} {
		target := u.path("target" + mode)
		u.must("list", "--dataset", m.Dir)
		log := u.trace("fsync,renameat,syncfs", func() {
			u.must("get", mode, "--dataset", m.Dir, "--sub", "01", "--suffix", "T1w", target)
		})
		synced := make(map[string]bool)
		renamed, settled := 0, false
		half := regexp.MustCompile(`/[^/"<>]*\.uniharmonyfs-[0-9-]+\.part|\.uniharmonyfs-[0-9-]+\.part`)
		for line := range strings.Lines(log) {
			if strings.Contains(line, "resumed>") {
				continue // its beginning was seen
			}
			switch name := filepath.Base(half.FindString(line)); {
			case strings.Contains(line, "syncfs("):
				settled = true
			case name == ".":
			case strings.Contains(line, "fsync("):
				synced[name] = true
			case strings.Contains(line, "renameat("):
				renamed, settled = renamed+1, false
				if !synced[name] {
					t.Errorf("%s: %s gets its name before it is on the disk", mode, name)
				}
			}
		}
		if renamed < 2 || !settled {
			t.Errorf("%s: %d files renamed, settled at the end: %v\n%s", mode, renamed, settled, log)
		}
	}
}

// A umask is the user's will for what is downloaded. The cache is nobody
// else's, whatever the umask.
func TestUmask(t *testing.T) {
	u := newUser(t)
	_, m := serve(t, u, demo.Dataset())
	with := func(umask string, args ...string) {
		t.Helper()
		cmd := u.command(t.Context())
		cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", "umask " + umask + "; exec \"$@\"", "sh", binary}, args...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	os.MkdirAll(u.cache, 0o777)
	os.Chmod(u.cache, 0o777)
	// The first one starts the daemon.
	for _, umask := range []string{"077", "000", "027"} {
		modes := map[string][2]os.FileMode{"000": {0o777, 0o666}, "027": {0o750, 0o640}, "077": {0o700, 0o600}}[umask]
		target := u.path("target" + umask)
		with(umask, "get", "--dataset", m.Dir, "--sub", "01", target)
		for _, name := range []string{"", "sub-01", "sub-01/ses-01", "sub-01/ses-01/anat", "README", "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz"} {
			st, err := os.Stat(filepath.Join(target, name))
			if err != nil {
				t.Fatal(err)
			}
			want := modes[1]
			if st.IsDir() {
				want = modes[0]
			}
			if st.Mode().Perm() != want {
				t.Errorf("umask %s: %q has mode %v, want %v", umask, name, st.Mode(), want)
			}
		}
	}
	for _, name := range []string{".", "index", "daemon.log", "lock"} {
		if st, err := os.Stat(filepath.Join(u.cache, name)); err != nil || st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s of the cache is %v, %v", name, st.Mode(), err)
		}
	}
	if pid := u.daemon(); pid > 0 {
		u.leaveDaemon()
	}
	os.Chmod(u.cache, 0o777) // by somebody's backup
	with("000", "list", "--count", "--dataset", m.Dir)
	if st, err := os.Stat(u.cache); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("taken up again, the cache is %v, %v", st.Mode(), err)
	}
}
