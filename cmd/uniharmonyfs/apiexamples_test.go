package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/demo"
)

// Every example of docs/control-api.md is run as it stands there, in its order,
// and answers as it says.
func TestControlAPIExamples(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("skipped: no curl on this machine")
	}
	u := newUser(t)
	d, err := demo.Start(u.path("demo"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	requests, sections := readAPI(t)
	u.serveLong()
	for _, e := range sections["How it answers"].examples {
		answer := u.example(e)
		if len(answer) != 1 || answer[0]["fault"] == nil {
			t.Errorf("%s\nno fault: %v", e.command, answer)
		}
	}
	var waits chan []map[string]any // the answer of the request that waits for a mount's end
	for _, r := range requests {
		s := sections[r]
		for _, e := range s.examples {
			switch r {
			case "GET /v1/hello", "POST /v1/stop":
				u.serveLong()
				u.example(e)
				continue
			case "POST /v1/hold":
				held := make(chan []map[string]any, 1)
				go func() { held <- u.example(e) }()
				eventually(t, "it mounts", func() bool { _, err := os.Stat(u.path("held/README")); return err == nil })
				u.must("unmount", u.path("held"))
				checkAnswer(t, r, s, <-held)
				continue
			case "POST /v1/wait":
				waits = make(chan []map[string]any, 1)
				go func() { waits <- u.example(e) }()
				eventually(t, "it waits", func() bool { return u.asking("/v1/wait") })
				select {
				case answer := <-waits:
					t.Errorf("the mount's end is awaited, and the answer is there: %v", answer)
				case <-time.After(100 * time.Millisecond):
				}
				continue
			}
			u.serveLong()
			answer := u.example(e)
			checkAnswer(t, r, s, answer)
			if n := len(answer) - 1; n >= 0 && strings.Contains(fmt.Sprint(answer[n]), "cache_removed:true") {
				eventually(t, "the daemon goes with its cache", func() bool { return u.daemon() == 0 })
			}
		}
		if r == "POST /v1/unmount" {
			select {
			case answer := <-waits:
				checkAnswer(t, "POST /v1/wait", sections["POST /v1/wait"], answer)
			case <-time.After(time.Minute):
				t.Fatal("the mount is gone, and it waits")
			}
		}
	}
	eventually(t, "the daemon ends when it is told to stop", func() bool { return u.daemon() == 0 })
}

// asking reports whether a process of curl asks the user's daemon for a path.
func (u *user) asking(path string) bool {
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		cmd, _ := os.ReadFile(p)
		if at, err := os.Readlink(filepath.Join(filepath.Dir(p), "cwd")); err == nil && at == u.cache && bytes.HasPrefix(cmd, []byte("curl\x00")) && bytes.Contains(cmd, []byte(path)) {
			return true
		}
	}
	return false
}

// serveLong starts a daemon, if there is none, that stays while nothing is asked.
func (u *user) serveLong() {
	u.t.Helper()
	if u.daemon() != 0 {
		return
	}
	cmd := u.command(context.Background(), "daemon", "--cache", u.cache, "--grace", "5m")
	out, err := cmd.StdoutPipe()
	if err != nil {
		u.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	var ready [6]byte
	if _, err := io.ReadFull(out, ready[:]); err != nil || string(ready[:]) != "ready\n" {
		u.t.Fatalf("the daemon says %q, %v", ready, err)
	}
	go cmd.Wait()
}

// example runs an example and compares what it answers with what is printed. Of
// an answer that is no object it returns nothing.
func (u *user) example(e apiExample) []map[string]any {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", "exec "+strings.ReplaceAll(e.command, "/home/you/", u.dir+"/"))
	cmd.Dir = u.cache
	cmd.Env = append(os.Environ(), "http_proxy=", "all_proxy=", "ALL_PROXY=")
	out, err := cmd.Output()
	if err != nil {
		u.t.Errorf("%s\n%v: %s", e.command, err, out)
		return nil
	}
	want, got := values(u.t, e.printed), values(u.t, string(out))
	if a, b := shapes(want), shapes(got); a != b {
		u.t.Errorf("%s\nis answered\n%s\n%s\nand the document says\n%s", e.command, out, b, a)
	}
	var answer []map[string]any
	for _, v := range got {
		if line, ok := v.(map[string]any); ok {
			answer = append(answer, line)
		}
	}
	return answer
}

// values reads JSON values; lines of three dots are left out.
func values(t testing.TB, text string) (list []any) {
	dec := json.NewDecoder(strings.NewReader(regexp.MustCompile(`(?m)^…$`).ReplaceAllString(text, "")))
	for {
		var v any
		if err := dec.Decode(&v); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Errorf("no JSON: %v\n%s", err, text)
			return list
		}
		list = append(list, v)
	}
}

// shapes are the shapes of the lines of an answer, each kind of line once: the
// document prints some of many.
func shapes(lines []any) string {
	var progress, others []any
	for _, v := range lines {
		if line, ok := v.(map[string]any); ok && line["progress"] != nil {
			progress = append(progress, line["progress"])
		} else {
			others = append(others, v)
		}
	}
	// Which optional fields of progress come is not the same every time.
	seen := make(map[string]bool)
	for _, p := range progress {
		seen[fmt.Sprint("progress of ", p.(map[string]any)["phase"])] = true
	}
	return fmt.Sprint(keys(seen), " ", shape("", merge(others)))
}

func keys(m map[string]bool) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// merge makes one object of several: with all of their fields, each the first
// one, or of lists and objects all.
func merge(list []any) any {
	all := make(map[string][]any)
	for _, v := range list {
		o, ok := v.(map[string]any)
		if !ok {
			return list[0]
		}
		for k, f := range o {
			all[k] = append(all[k], f)
		}
	}
	merged := make(map[string]any)
	for k, fields := range all {
		if _, ok := fields[0].(map[string]any); ok {
			merged[k] = merge(fields)
		} else {
			merged[k] = fields[0]
		}
	}
	return merged
}

// shape is what a value is made of. Words that mean something are told.
func shape(name string, v any) string {
	switch v := v.(type) {
	case map[string]any:
		var parts []string
		for k, f := range v {
			parts = append(parts, k+":"+shape(k, f))
		}
		slices.Sort(parts)
		return "{" + strings.Join(parts, " ") + "}"
	case []any:
		if len(v) == 0 {
			return "[]"
		}
		return "[" + shape(name, merge(v)) + "]"
	case string:
		if slices.Contains([]string{"kind", "phase"}, name) {
			return "text " + v
		}
		if _, err := time.Parse(time.RFC3339, v); err == nil {
			return "time"
		}
		return "text"
	case float64:
		if name == "" { // a status
			return fmt.Sprint(v)
		}
		return "number"
	}
	return fmt.Sprintf("%T", v)
}

// checkAnswer sees that an answer is made of what the section says, and that all
// of it went well.
func checkAnswer(t *testing.T, request string, s *apiSection, answer []map[string]any) {
	t.Helper()
	phases := listed(t, request, s.said["Progress"], control.Phases)
	as := func(of string, v any) {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		into := any(&struct{}{})
		if of != "nothing" {
			into = reflect.New(saidTypes[of]).Interface()
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(into); err != nil {
			t.Errorf("%s: it is no %s: %v\n%s", request, of, err, raw)
		}
	}
	items := 0
	for i, line := range answer {
		switch {
		case len(line) != 1:
			t.Errorf("%s: a line says %v", request, line)
		case line["progress"] != nil:
			as("Progress", line["progress"])
			if phase := fmt.Sprint(line["progress"].(map[string]any)["phase"]); !slices.Contains(phases, phase) {
				t.Errorf("%s: the phase %s is not documented there", request, phase)
			}
		case line["item"] != nil:
			items++
			as(s.said["Items"], line["item"])
		case line["result"] != nil:
			as(s.said["Out"], line["result"])
			if failed := line["result"].(map[string]any)["failed"]; failed != nil {
				t.Errorf("%s: failed: %v", request, failed)
			}
			if i != len(answer)-1 {
				t.Errorf("%s: there are lines after the result", request)
			}
			continue
		default:
			t.Errorf("%s: %v", request, line)
		}
		if i == len(answer)-1 {
			t.Errorf("%s: the last line is %v", request, line)
		}
	}
	if len(answer) == 0 {
		t.Errorf("%s: no answer", request)
	}
	if items > 0 && s.said["Items"] == "none" {
		t.Errorf("%s: %d items", request, items)
	}
}
