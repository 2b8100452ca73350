package program

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/remedy"
)

// Progress is what a program says of how far it is. Total is 0 while unknown.
type Progress struct {
	Phase       string
	Done, Total int64
	Text        string
}

// Git runs git for us. The user's configuration holds (proxies,
// credential helpers, rewritten URLs), but nothing of a repository's runs.
type Git struct {
	Path string
	Env  []string // of the caller; goes before ours
}

// GitError is a failed run of git.
type GitError struct {
	Args []string
	Said string
	Err  error
}

func (e *GitError) Error() string { return "git " + e.Args[0] + ": " + remedy.LastLines(e.Said, 3) }
func (e *GitError) Unwrap() error { return e.Err }

// Environment returns what git is started with: it asks nobody, waits for nobody
// for ever, and knows no repository but the one that it is given.
func (g Git) Environment() []string {
	env := append(os.Environ(), g.Env...)
	// Git waits for ever for a server that says nothing.
	if !has(env, "GIT_SSH_COMMAND") && !has(env, "GIT_SSH") {
		env = append(env, "GIT_SSH_COMMAND=ssh -oBatchMode=yes -oConnectTimeout=20 -oServerAliveInterval=20")
	}
	if !has(env, "GIT_HTTP_LOW_SPEED_TIME") {
		env = append(env, "GIT_HTTP_LOW_SPEED_LIMIT=1", "GIT_HTTP_LOW_SPEED_TIME=60")
	}
	// A repository that a surrounding command works in is not ours.
	for _, name := range []string{"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_COMMON_DIR"} {
		env = Without(env, name)
	}
	return append(env, "LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_LAZY_FETCH=1")
}

func has(env []string, name string) bool {
	return slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
}

// Without returns an environment that lacks a variable.
func Without(env []string, name string) []string {
	out := env[:0:0]
	for _, kv := range env {
		if !strings.HasPrefix(kv, name+"=") {
			out = append(out, kv)
		}
	}
	return out
}

const (
	// maxOutput is how much of what git prints is taken, in bytes.
	maxOutput = 32 << 20
	// gitMemory bounds the data that git, and what it starts, keeps in memory,
	// in bytes: others decide how much there is. It holds what index-pack needs
	// for objects that it does not stream.
	gitMemory = 4 << 30
	// ListMemory is the same for a list of refs, of which there may be a million.
	ListMemory = 256 << 20
	// TransferSilence is how long git may be silent about what it gets: a server may
	// count objects for some minutes.
	TransferSilence = 10 * time.Minute
	// ListTime is how long a list of refs may take.
	ListTime = 2 * time.Minute
	// connectTime is how long a connection over HTTP may take, with TLS, until a
	// request can be sent: git itself waits for minutes for a machine that does not
	// answer. Four attempts of TCP fit in it.
	connectTime = 15 * time.Second
)

// Limits bound a run of git. The zero value has those for what is done on this
// machine: it may take as long as it takes.
type Limits struct {
	Memory  uint64        // of data, in bytes; 0: gitMemory
	Silence time.Duration // 0: no bound
	Connect time.Duration // over HTTP; 0: connectTime, where there is a bound of silence
}

// Run runs git and returns what it prints. Its progress goes to progress, which
// may be nil. The error is a *GitError, or ctx's.
func (g Git) Run(ctx context.Context, progress func(Progress), args ...string) (string, error) {
	return g.Bounded(ctx, Limits{}, progress, args...)
}

// Bounded is Run with bounds. The error is a *GitError, or ctx's.
func (g Git) Bounded(ctx context.Context, l Limits, progress func(Progress), args ...string) (string, error) {
	all := append([]string{
		"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "protocol.ext.allow=never",
		"-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "submodule.recurse=false", "-c", "fetch.recurseSubmodules=false",
	}, args...)
	cmd := withMemory(cmp.Or(l.Memory, gitMemory), g.Path, all...)
	cmd.Env = g.Environment()
	within, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	out := &boundedBuffer{full: func() { stop(ErrTooMuch) }}
	words := &Words{Tell: progress}
	if l.Silence > 0 {
		silent := time.AfterFunc(l.Silence, func() { stop(fmt.Errorf("git was silent for %v", l.Silence)) })
		defer silent.Stop()
		words.heard = func(all int) {
			if silent.Reset(l.Silence); all > maxOutput {
				stop(ErrTooMuch) // a server can chat for ever
			}
		}
	}
	cmd.Stdout, cmd.Stderr = out, words
	if l.Silence > 0 {
		bound := cmp.Or(l.Connect, connectTime)
		traced, err := boundConnect(cmd, bound, func() { stop(fmt.Errorf("no connection within %v", bound)) })
		if err != nil {
			return "", err
		}
		defer traced()
	}
	err := RunGroup(within, cmd)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case within.Err() != nil:
		return "", &GitError{Args: args, Said: context.Cause(within).Error(), Err: context.Cause(within)}
	case err != nil:
		return "", &GitError{Args: args, Said: words.Text(), Err: err}
	}
	return out.kept.String(), nil
}

// sends matches the trace of a request. What a proxy is asked before, by CONNECT, is
// none yet.
var sends = regexp.MustCompile(`=> Send header: (GET|HEAD|POST) `)

// boundConnect calls late when a command of git has begun to connect over HTTP and
// no request could be sent for so long. What is not HTTP has no bound here. ended is
// to be called when the command has ended.
func boundConnect(cmd *exec.Cmd, within time.Duration, late func()) (ended func(), err error) {
	from, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.ExtraFiles = []*os.File{to} // descriptor 3
	cmd.Env = append(cmd.Env, "GIT_TRACE_CURL=3", "GIT_TRACE_CURL_NO_DATA=1")
	read := make(chan struct{})
	go func() {
		defer close(read)
		trace := bufio.NewReader(from)
		if _, err := trace.ReadByte(); err != nil {
			return // it was not HTTP
		}
		timer := time.AfterFunc(within, late)
		defer timer.Stop()
		lines := bufio.NewScanner(trace)
		for lines.Scan() && !sends.MatchString(lines.Text()) {
		}
		timer.Stop()
		io.Copy(io.Discard, trace)
	}()
	return func() {
		to.Close()
		from.Close() // some program that outlives git may have the other end
		<-read
	}, nil
}

// ErrTooMuch says that a program printed more than anybody has need of.
var ErrTooMuch = errors.New("git says too much")

// boundedBuffer keeps what a command prints, up to maxOutput. It offers no way
// around Write.
type boundedBuffer struct {
	kept bytes.Buffer
	full func()
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.kept.Len()+len(p) > maxOutput {
		b.full()
		return 0, ErrTooMuch
	}
	return b.kept.Write(p)
}

// withMemory is a command that keeps at most so many bytes of data in memory,
// and so does each program that it starts: the limit is there before it is.
func withMemory(bytes uint64, path string, args ...string) *exec.Cmd {
	const script = `ulimit -d "$0" 2>/dev/null; exec "$@"` // a lower limit stays
	return exec.Command("/bin/sh", append([]string{"-c", script, strconv.FormatUint(bytes>>10, 10), path}, args...)...)
}

// RunGroup runs a command in a process group of its own, which dies with this
// process and is killed as a whole when ctx ends: git's helpers are not its
// direct children only.
func RunGroup(ctx context.Context, cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	ended := make(chan error, 1)
	if err := StartLocked(cmd, func() { ended <- cmd.Wait() }); err != nil {
		return err
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		return ctx.Err()
	}
}

// Words keeps the end of what git says and finds its progress in it.
type Words struct {
	Tell  func(Progress)
	heard func(all int) // is told how many bytes were said so far; or nil
	told  Progress
	all   int
	tail  []byte
	line  []byte
}

var percent = regexp.MustCompile(`^(?:remote: )?([A-Z][A-Za-z ]+): +\d+% \((\d+)/(\d+)\)`)

func (w *Words) Write(b []byte) (int, error) {
	w.all += len(b)
	if w.heard != nil {
		w.heard(w.all)
	}
	for _, c := range b {
		if c != '\r' && c != '\n' {
			if len(w.line) < 4096 {
				w.line = append(w.line, c)
			}
			continue
		}
		w.endLine()
	}
	return len(b), nil
}

func (w *Words) endLine() {
	m := percent.FindSubmatch(w.line)
	switch {
	case m != nil && w.Tell != nil:
		done, _ := strconv.ParseInt(string(m[2]), 10, 64)
		total, _ := strconv.ParseInt(string(m[3]), 10, 64)
		now := Progress{Phase: string(m[1]), Done: done, Total: total, Text: string(m[1])}
		if now == w.told {
			break // git says the last one twice
		}
		w.told = now
		Attempt(func() error { // this is a goroutine of os/exec
			w.Tell(now)
			return nil
		})
	case m == nil:
		w.tail = append(append(w.tail, w.line...), '\n')
		if over := len(w.tail) - 16<<10; over > 0 {
			w.tail = w.tail[over:]
		}
	}
	w.line = w.line[:0]
}

// Text returns the end of what was said, but for progress.
func (w *Words) Text() string {
	if len(w.line) > 0 {
		w.endLine()
	}
	return string(w.tail)
}

var _ io.Writer = (*Words)(nil)

// AsGitError finds the failed run of git in an error.
func AsGitError(err error) (*GitError, bool) {
	var g *GitError
	ok := errors.As(err, &g)
	return g, ok
}

// Said returns what git said of its failure.
func Said(err error) string {
	if g, ok := AsGitError(err); ok {
		return g.Said
	}
	return err.Error()
}

// FindGit returns the path of the git program, or "" when there is none.
func FindGit() string {
	path, err := exec.LookPath("git")
	if err != nil {
		return ""
	}
	return path
}
