package main_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The demo leaves nothing behind, also when whoever reads what it says goes away.
func TestDemoLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, lines := range []int{0, 1, 6, 9} {
		t.Run(fmt.Sprintf("%d lines are read", lines), func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			tmp := u.path("tmp")
			if err := os.Mkdir(tmp, 0o755); err != nil {
				t.Fatal(err)
			}
			u.env = []string{"TMPDIR=" + tmp}
			cmd := u.command(t.Context(), "demo")
			cmd.Stderr = os.Stderr
			said, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			r, last := bufio.NewReader(said), ""
			for n := 0; lines == 0 || n < lines; n++ {
				line, err := r.ReadString('\n')
				if err != nil {
					break
				}
				last = line
			}
			said.Close()
			if err := cmd.Wait(); lines == 0 && (err != nil || last != "Done. Nothing is left behind.\n") {
				t.Errorf("%v, and its last words are %q", err, last)
			}
			// A daemon that has nothing to do stays for ten seconds.
			left := remains(tmp)
			for end := time.Now().Add(2 * time.Minute); left != "" && time.Now().Before(end); left = remains(tmp) {
				time.Sleep(100 * time.Millisecond)
			}
			if left != "" {
				t.Errorf("the demo left %s", left)
			}
		})
	}
}

// remains names something of a directory that is mounted, runs or lies there.
func remains(dir string) string {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), dir) {
		return "a mount"
	}
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range processes {
		if line, _ := os.ReadFile(p); bytes.Contains(line, []byte(dir)) {
			return string(line)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) > 0 {
		return fmt.Sprint(files, err)
	}
	return ""
}
