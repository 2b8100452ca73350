package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/job"
)

// The exit codes are an interface: never renumbered, never reused.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNoMatch     = 3
	exitUnreachable = 4
	exitNoSpace     = 5
	exitCannotMount = 6
	exitPartial     = 7
	exitInterrupted = 130
)

func exitCode(k advice.Kind) int {
	switch k {
	case advice.Usage:
		return exitUsage
	case advice.NoMatch:
		return exitNoMatch
	case advice.Unreachable:
		return exitUnreachable
	case advice.NoSpace:
		return exitNoSpace
	case advice.CannotMount:
		return exitCannotMount
	case advice.Partial:
		return exitPartial
	case advice.Interrupted:
		return exitInterrupted
	}
	return exitFailed
}

// usage is the error of a command line that makes no sense.
func usage(what string, do ...string) error {
	if len(do) == 0 {
		do = []string{"see uniharmonyfs COMMAND --help"}
	}
	return &advice.Error{Kind: advice.Usage, What: what, Do: do}
}

// report tells a person, or a program, what went wrong and returns the exit
// code.
func report(w io.Writer, asJSON bool, err error) int {
	if err == nil {
		return exitDone
	}
	own := new(job.Exit)
	if errors.As(err, &own) {
		if err = own.Why; err == nil {
			return own.Code
		}
	}
	f := control.ToAdvice(err)
	code := exitCode(f.Kind)
	if own.Code != 0 {
		code = own.Code
	}
	if asJSON {
		json.NewEncoder(w).Encode(map[string]any{"error": f, "exit": code})
		return code
	}
	fmt.Fprintf(w, "uniharmonyfs: %s\n", printable(f.Error()))
	for _, do := range f.Do {
		fmt.Fprintf(w, "  - %s\n", printable(do))
	}
	return code
}

func wantsJSON(args []string) bool {
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	return slices.Contains(args, "--json")
}
