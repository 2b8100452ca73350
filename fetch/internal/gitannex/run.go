package gitannex

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/program"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/remedy"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
	"github.com/uniharmony/uniharmonyfs/internal/source"
)

// process is one process of git-annex, and those who wait for its answers.
type process struct {
	dir   string // of the repository
	cmd   *exec.Cmd
	in    io.WriteCloser
	ended chan struct{} // closed when the process is gone
	said  *program.Words

	mu      sync.Mutex // guards the following
	waiting map[annex.Key]*waiting
	gone    error       // it takes no more keys
	left    []annex.Key // what it has of these is removed when it is gone
	swept   bool        // it was
}

// waiting is a key that is waited for.
type waiting struct {
	done     chan error    // of 1
	heard    chan struct{} // of 1: something was said about it
	progress func(int64)
}

// Line is a line of git-annex's JSON output: progress, or a result.
type Line struct {
	Key      string   `json:"key"`
	Success  *bool    `json:"success"`
	Note     string   `json:"note"`
	Errors   []string `json:"error-messages"`
	Progress *int64   `json:"byte-progress"`
	Action   *struct {
		Key string `json:"key"`
	} `json:"action"`
}

// startRun starts a git-annex that takes keys from its input.
func startRun(dir string, cmd *exec.Cmd) (*process, error) {
	r := &process{dir: dir, cmd: cmd, ended: make(chan struct{}), said: &program.Words{}, waiting: make(map[annex.Key]*waiting)}
	cmd.Stderr = r.said
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	r.in = in
	err = program.StartLocked(cmd, func() {
		defer close(r.ended)
		r.end(program.Attempt(func() error {
			r.read(out)
			return nil
		}))
	})
	if err != nil {
		return nil, fmt.Errorf("git-annex: %w", err)
	}
	return r, nil
}

// add gives a key to git-annex.
func (r *process) add(key annex.Key, progress func(int64)) (*waiting, error) {
	w := &waiting{done: make(chan error, 1), heard: make(chan struct{}, 1), progress: progress}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone != nil {
		return nil, r.gone
	}
	if r.waiting[key] != nil {
		return nil, errLocked
	}
	// The few keys at work fit into the pipe: this does not block.
	if _, err := io.WriteString(r.in, key.String()+"\n"); err != nil {
		return nil, errForOther // the end of the process tells why
	}
	r.waiting[key] = w
	return w, nil
}

// alive reports whether it takes keys.
func (r *process) alive() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gone == nil
}

// quiet reports whether nobody waits for it.
func (r *process) quiet() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting) == 0
}

// abandon lets what it has of a key be removed when it is gone.
func (r *process) abandon(key annex.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.swept {
		removeTmp(r.dir, key)
	} else {
		r.left = append(r.left, key)
	}
}

// maxAnnexLine is the length in bytes of the longest line that is read of
// git-annex: a longer one ends it.
const maxAnnexLine = 1 << 20

// read takes git-annex's answers until its output ends.
func (r *process) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(make([]byte, 64<<10), maxAnnexLine)
	for lines.Scan() {
		if key, l, ok := parseLine(lines.Bytes()); ok {
			r.answer(key, l)
		}
	}
}

// parseLine reads a line of git-annex's output. ok is false when it is
// about no key.
func parseLine(line []byte) (key annex.Key, l Line, ok bool) {
	if json.Unmarshal(line, &l) != nil {
		return key, l, false
	}
	name := l.Key
	if l.Action != nil {
		name = l.Action.Key
	}
	key, err := annex.ParseKey(name)
	return key, l, err == nil
}

func (r *process) answer(key annex.Key, l Line) {
	r.mu.Lock()
	w := r.waiting[key]
	if l.Success != nil {
		delete(r.waiting, key)
	}
	r.mu.Unlock()
	switch {
	case w == nil:
	case l.Success == nil:
		if l.Progress != nil && *l.Progress >= 0 {
			w.progress(*l.Progress)
		}
		select {
		case w.heard <- struct{}{}:
		default:
		}
	case *l.Success:
		w.done <- nil
	default:
		w.done <- failure(append(l.Errors, l.Note))
	}
}

// failure makes an error of what git-annex says.
func failure(said []string) error {
	all := strings.Join(said, "\n")
	text := remedy.LastLines(all, 4)
	switch {
	case strings.Contains(all, "not enough free space") || strings.Contains(all, "No space left"):
		return fmt.Errorf("%s: %w", text, syscall.ENOSPC)
	case text == "":
		return errors.New("failed, and does not say why")
	case strings.Contains(all, "transfer already in progress"):
		return fmt.Errorf("%s: %w", text, errLocked)
	case remedy.SpeaksOfNetwork(all):
		return source.Outage(errors.New(text))
	}
	return errors.New(text)
}

// end tells all who still wait that the process is gone. It may have ended by
// itself; that it is not the key's fault is what Outage says.
func (r *process) end(fault error) {
	syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL) // also when what it said was not understood
	err := r.cmd.Wait()
	awaitGroup(r.cmd.Process.Pid)
	why := "no reason given"
	if fault != nil {
		why = fault.Error()
	} else if text := remedy.LastLines(r.said.Text(), 3); text != "" {
		why = text
	} else if err != nil {
		why = err.Error()
	}
	r.finish(source.Outage(errors.New("git-annex ended: " + why)))
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range r.left {
		removeTmp(r.dir, key)
	}
	r.swept = true
}

// awaitGroup returns when a process group that was killed is gone: its members
// hold git-annex's locks on what they fetch until then. The bound is for
// machines where nobody takes care of the dead.
func awaitGroup(pid int) {
	for range 500 {
		if syscall.Kill(-pid, syscall.SIGKILL) != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// finish takes no more keys and answers those who wait. The first reason
// counts.
func (r *process) finish(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone == nil {
		r.gone = why
	}
	for _, w := range r.waiting {
		w.done <- r.gone
	}
	clear(r.waiting)
}

// kill ends the process and returns at once; ended is closed when it is gone.
func (r *process) kill(why error) {
	r.finish(why)
	r.signal(syscall.SIGTERM)
	time.AfterFunc(2*time.Second, func() { r.signal(syscall.SIGKILL) })
}

func (r *process) signal(s syscall.Signal) {
	select {
	case <-r.ended: // its number may be another's by now
	default:
		syscall.Kill(-r.cmd.Process.Pid, s)
	}
}
