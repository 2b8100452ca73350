package main_test

import (
	"context"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// --help has the flags that most people need, each in a line and with its names
// once; --help-all has all of them.
func TestHelpIsShort(t *testing.T) {
	help := func(args ...string) string {
		out, err := exec.CommandContext(context.Background(), binary, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	flag := regexp.MustCompile(`(?m)^   (-{1,2}[a-z].*?)  `)
	commands := regexp.MustCompile(`(?m)^   ([a-z]+)(?:, [a-z]+)*  `).FindAllStringSubmatch(help("--help"), -1)
	if len(commands) < 15 {
		t.Fatalf("%d commands", len(commands))
	}
	for _, c := range commands {
		if c[1] == "help" {
			continue
		}
		short, long := help(c[1], "--help"), help(c[1], "--help-all")
		if n := strings.Count(short, "\n"); n > 70 {
			t.Errorf("%s --help has %d lines", c[1], n)
		}
		for _, text := range []string{short, long} {
			seen := make(map[string]bool)
			for _, m := range flag.FindAllStringSubmatch(text, -1) {
				for name := range strings.SplitSeq(m[1], ", ") {
					name, _, _ = strings.Cut(name, " ")
					if seen[name] {
						t.Errorf("%s: %s stands there twice", c[1], name)
					}
					seen[name] = true
				}
			}
		}
		for _, m := range flag.FindAllStringSubmatch(short, -1) {
			if !strings.Contains(long, m[1]) {
				t.Errorf("%s --help-all lacks %s", c[1], m[1])
			}
		}
		if strings.Contains(short, "--help-all\n") && len(flag.FindAllString(long, -1)) <= len(flag.FindAllString(short, -1)) {
			t.Errorf("%s --help-all shows no more", c[1])
		}
	}
	if all := help("mount", "--help-all"); !strings.Contains(all, "--patience") || !strings.Contains(all, "--echo") {
		t.Errorf("mount --help-all:\n%s", all)
	}
}
