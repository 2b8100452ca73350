package main_test

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// The command of the systemd service shows a dataset until it is told to stop.
func TestServiceOfThePackage(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	repo := plainRepository(t, u, "repo")
	unit, err := os.ReadFile("../../scripts/packaging/uniharmonyfs@.service")
	if err != nil {
		t.Fatal(err)
	}
	start := regexp.MustCompile(`(?m)^ExecStart=uniharmonyfs (.*)$`).FindSubmatch(unit)
	arguments := regexp.MustCompile(`(?m)^Environment=.*"ARGS=(.*)"$`).FindSubmatch(unit)
	if start == nil || arguments == nil {
		t.Fatalf("what does it run?\n%s", unit)
	}
	var args []string
	for _, word := range strings.Fields(string(start[1])) {
		switch word {
		case "$ARGS":
			args = slices.Concat(args, strings.Fields(strings.ReplaceAll(string(arguments[1]), "%i", repo)))
		case "${TARGET}":
			args = append(args, u.path("mnt"))
		default:
			args = append(args, word)
		}
	}
	cmd := u.command(t.Context(), args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	// Before it has said so, a signal interrupts the mounting.
	if said, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.HasPrefix(said, "Mounted ") {
		t.Fatalf("it says %q, %v", said, err)
	}
	readme := filepath.Join(u.path("mnt"), "README")
	if _, err := os.Stat(readme); err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("stopped, it fails: %v", err)
	}
	if _, err := os.Stat(readme); err == nil {
		t.Error("it is mounted still")
	}
}
