package cachedir

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newLog returns a small log and the file that stands for standard error.
func newLog(t *testing.T) (*logFile, *os.File) {
	t.Helper()
	dir := Dir(t.TempDir())
	to, err := dir.OpenLog()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { to.Close() })
	l := dir.Log(to).(*logFile)
	l.limit = 4096
	return l, to
}

func contents(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestLogIsBoundedWhileItIsWritten(t *testing.T) {
	l, to := newLog(t)
	log := slog.New(slog.NewTextHandler(l, nil))
	for i := range 1000 {
		log.Info("something", "n", i)
	}
	fmt.Fprintln(to, "last words")
	for _, name := range []string{l.path, l.path + ".old"} {
		st, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if st.Size() > l.limit+200 || st.Mode() != 0o600 {
			t.Errorf("%s: %d bytes, %v", name, st.Size(), st.Mode())
		}
	}
	now, old := contents(t, l.path), contents(t, l.path+".old")
	if !strings.HasSuffix(now, "n=999\nlast words\n") {
		t.Errorf("the log ends with %q", now[max(0, len(now)-80):])
	}
	if strings.Count(old+now, "\n") < 40 || strings.Contains(now, "n=0\n") {
		t.Error("too much is lost, or nothing")
	}
	if left, _ := filepath.Glob(filepath.Dir(l.path) + "/*"); len(left) != 2 {
		t.Errorf("there are %v", left)
	}
}

func TestRepeatedLinesAreCounted(t *testing.T) {
	l, _ := newLog(t)
	log := slog.New(slog.NewTextHandler(l, nil))
	for range 500 {
		log.Warn("the same")
		time.Sleep(time.Microsecond)
	}
	log.Warn("another")
	l.every = 0 // every line is late
	log.Warn("another")
	got := contents(t, l.path)
	if strings.Count(got, "the same") != 1 || !strings.Contains(got, "repeated 499 times\n") || strings.Count(got, "another") != 2 {
		t.Errorf("the log is\n%s", got)
	}
}

func TestLogOnAFullDiskIsLostInSilence(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("skipped: no /dev/full: ", err)
	}
	defer full.Close()
	l := Dir(t.TempDir()).Log(full)
	for i := range 3 {
		line := fmt.Sprintf("time=%d lost\n", i)
		if n, err := l.Write([]byte(line)); n != len(line) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
}

// A cache that is removed stays removed, whatever is said afterwards.
func TestRemovedLogIsNotMadeAgain(t *testing.T) {
	l, to := newLog(t)
	os.Remove(l.path)
	for i := range 1000 {
		fmt.Fprintf(l, "time=%d line %d\n", i, i)
	}
	if _, err := os.Lstat(l.path); !os.IsNotExist(err) {
		t.Errorf("the log is there again: %v", err)
	}
	if st, err := to.Stat(); err != nil || st.Size() > l.limit+200 {
		t.Errorf("what nobody sees has %d bytes, %v", st.Size(), err)
	}
}

// Another command that finds the log large moves it aside under the daemon.
func TestLogThatSomebodyElseBegan(t *testing.T) {
	l, to := newLog(t)
	fmt.Fprintln(l, "time=1 before")
	os.Rename(l.path, l.path+".old")
	other, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	fmt.Fprintln(l, "time=2 after")
	fmt.Fprintln(to, "last words")
	if old, now := contents(t, l.path+".old"), contents(t, l.path); old != "time=1 before\n" || now != "time=2 after\nlast words\n" {
		t.Errorf("old %q, new %q", old, now)
	}
}
