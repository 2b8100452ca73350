// Report reads what go test -json says and writes what people want to know of
// it: a line for each package, the output of what failed, and at the end how
// many tests passed, failed and were skipped, and why they were. It fails when
// a test failed or none ran. Where CI is set, it also fails when a test was
// skipped for want of something that the scripts install. With -v it also
// writes what the tests said that passed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// event is a line of go test -json (go doc test2json).
type event struct {
	Action, Package, ImportPath, Test, Output string
}

type name struct{ pkg, test string }

// tally is what is known so far.
type tally struct {
	out            io.Writer
	verbose        bool
	passed, failed int
	broken         bool // a package did not build, or failed outside its tests
	output         map[name]*strings.Builder
	running        map[name]bool
	skipped        []skip
}

type skip struct {
	name
	why string
}

// allowed are the reasons that no installation takes away: data that not
// everybody has, what takes long and is left to be asked for, and what a
// kernel, or who runs the tests, cannot do.
var allowed = regexp.MustCompile(`dataset .* is not here|no real dataset|datasets for tests are not there|bids-examples-part|\.bundle is not there` +
	`|takes (a while|minutes)|can be reached from here` +
	`|no passthrough here|root may do everything|no namespaces|only root can mount`)

func main() {
	verbose := len(os.Args) > 1 && os.Args[1] == "-v"
	os.Exit(run(os.Stdin, os.Stdout, verbose, os.Getenv("CI") != ""))
}

func run(in io.Reader, out io.Writer, verbose, strict bool) (code int) {
	t := &tally{out: out, verbose: verbose, output: make(map[name]*strings.Builder), running: make(map[name]bool)}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(out, lines.Text()) // not from a test
			continue
		}
		t.add(e)
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(out, err)
		t.broken = true
	}
	return t.end(strict)
}

func (t *tally) add(e event) {
	n := name{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(t.out, e.Output)
	case "build-fail":
		t.broken = true
	case "run":
		t.running[n] = true
	case "output":
		t.print(n, e.Output)
	case "pass", "fail", "skip":
		t.close(n, e.Action)
	}
}

// print keeps what a test says until it is known how it ended. What a package
// says outside its tests is shown at once.
func (t *tally) print(n name, s string) {
	if n.test == "" {
		if s != "PASS\n" && s != "FAIL\n" && !strings.HasSuffix(s, "[no test files]\n") {
			fmt.Fprint(t.out, s)
		}
		return
	}
	if t.output[n] == nil {
		t.output[n] = new(strings.Builder)
	}
	t.output[n].WriteString(s)
}

func (t *tally) close(n name, how string) {
	said := ""
	if b := t.output[n]; b != nil {
		said = b.String()
	}
	delete(t.output, n)
	delete(t.running, n)
	switch {
	case n.test == "":
		t.broken = t.broken || how == "fail"
	case how == "pass":
		t.passed++
		if t.verbose {
			fmt.Fprint(t.out, said)
		}
	case how == "fail":
		t.failed++
		fmt.Fprint(t.out, said)
	default:
		t.skipped = append(t.skipped, skip{n, reason(said)})
	}
}

// reason returns what a skipped test gave as its reason: what it logged, less
// the lines of go test itself and the places in the source.
func reason(said string) string {
	var why []string
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		why = append(why, strings.TrimPrefix(place.ReplaceAllString(line, ""), "skipped: "))
	}
	return strings.Join(why, " ")
}

var place = regexp.MustCompile(`^\S+_test\.go:\d+: `)

func (t *tally) end(strict bool) (code int) {
	// What still runs when its package is at an end was cut off: by a panic, by
	// the timeout, or by an exit.
	for n := range t.running {
		t.failed++
		if b := t.output[n]; b != nil {
			fmt.Fprint(t.out, b.String())
		}
		fmt.Fprintf(t.out, "%s %s did not end\n", short(n.pkg), n.test)
	}
	missing := t.tellSkipped()
	fmt.Fprintf(t.out, "%d passed, %d failed, %d skipped\n", t.passed, t.failed, len(t.skipped))
	switch {
	case t.failed > 0 || t.broken:
		return 1
	case t.passed == 0:
		fmt.Fprintln(t.out, "FAILED: no test ran")
		return 1
	case strict && missing > 0:
		fmt.Fprintf(t.out, "FAILED: %d tests were skipped for want of something that is to be here\n", missing)
		return 1
	}
	return 0
}

// tellSkipped names what was skipped, by reasons, and returns how many tests were
// for want of something that is to be here.
func (t *tally) tellSkipped() (missing int) {
	if len(t.skipped) == 0 {
		return 0
	}
	by := make(map[string][]string)
	for _, s := range t.skipped {
		why := s.why
		if !allowed.MatchString(why) {
			missing++
			why += " (something is missing)"
		}
		by[why] = append(by[why], short(s.pkg)+" "+s.test)
	}
	fmt.Fprintln(t.out, "skipped:")
	for _, why := range slices.Sorted(maps.Keys(by)) {
		fmt.Fprintf(t.out, "  %s: %s\n", why, few(by[why]))
	}
	return missing
}

// few names tests, or counts them when they are many.
func few(tests []string) string {
	const most = 8
	if len(tests) > most {
		return fmt.Sprintf("%d tests, as %s", len(tests), tests[0])
	}
	return strings.Join(tests, ", ")
}

func short(pkg string) string {
	return strings.TrimPrefix(pkg, "github.com/uniharmony/uniharmonyfs/")
}
