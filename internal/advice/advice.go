// Package advice has the one form in which failures are told: what happened, why,
// and what to do about it. They are made where they are understood, cross the
// control socket as they are, and become an exit code and words in the command.
package advice

import (
	"fmt"
	"strings"
)

// Kind says what sort of failure an [Error] is; the command line turns it
// into an exit code.
type Kind string

// The kinds of failures.
const (
	Failed      Kind = "failed"
	Usage       Kind = "usage"
	NoMatch     Kind = "no-match"     // the selection is empty
	Unreachable Kind = "unreachable"  // dataset or source cannot be had
	NoSpace     Kind = "no-space"     // budget or disk
	CannotMount Kind = "cannot-mount" // FUSE or the target
	Partial     Kind = "partial"      // some of the files failed
	Interrupted Kind = "interrupted"
)

// Reason is why a dataset or its content cannot be had, where a remedy is known
// for it.
type Reason string

// The reasons.
const (
	TLS            Reason = "tls"
	SSH            Reason = "ssh"
	Authentication Reason = "authentication"
	Proxy          Reason = "proxy"
	Network        Reason = "network"
	NotFound       Reason = "not-found"
	NotRepository  Reason = "not-a-repository"
	Damaged        Reason = "damaged"
	UnknownVersion Reason = "unknown-version"
	DiskFull       Reason = "disk-full"
	Ownership      Reason = "ownership"
	NoGit          Reason = "no-git"
	Offline        Reason = "offline"
	Other          Reason = "other"
)

// An Error says what happened, why, and what to do about it.
type Error struct {
	Kind   Kind     `json:"kind"`
	What   string   `json:"what"`
	Why    string   `json:"why,omitempty"`
	Do     []string `json:"do,omitempty"` // a line each
	Reason Reason   `json:"-"`

	cause error // in the process that made it
}

func (e *Error) Unwrap() error { return e.cause }

func (e *Error) Error() string {
	if e.Why == "" {
		return e.What
	}
	return e.What + ": " + e.Why
}

// New returns an error whose reason is another error; why may be nil.
func New(kind Kind, what string, why error, do ...string) *Error {
	e := &Error{Kind: kind, What: what, Do: do, cause: why}
	if why != nil {
		e.Why = why.Error()
	}
	return e
}

// List joins words for people: "a, b and c".
func List(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	n := len(words) - 1
	return fmt.Sprintf("%s and %s", strings.Join(words[:n], ", "), words[n])
}
