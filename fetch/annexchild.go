package fetch

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// AnnexProgram returns the path of git-annex, or "" when there is none. It is
// run by itself: killing a "git annex" would leave its child behind.
func AnnexProgram() string {
	path, err := exec.LookPath("git-annex")
	if err != nil {
		return ""
	}
	return path
}

// annexJobs is how many keys git-annex fetches at once.
const annexJobs = 4

// annexIdle is how long git-annex stays without work: it keeps some 100 MB.
const annexIdle = 30 * time.Second

// annexChild is a long-lived git-annex that fetches keys into the hidden
// clone: starting one takes longer than most files do. It is started at the
// first key, and again when it ended.
type annexChild struct {
	dir string // of the hidden clone
	env []string
	// allow are the addresses that the user opened, as git-annex wants them.
	allow string
	log   *slog.Logger

	mu      sync.Mutex // guards the following
	run     *annexRun
	closed  bool
	enabled bool // special remotes were set up
	idle    *time.Timer
}

func newAnnexChild(dir string, o OriginOptions) *annexChild {
	return &annexChild{dir: dir, env: o.Env, allow: strings.Join(o.AllowAddresses, " "), log: o.Log}
}

// annexRun is one process of git-annex, and those who wait for its answers.
type annexRun struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	ended chan struct{} // closed when the process is gone
	said  *progressWriter

	mu      sync.Mutex // guards the following
	waiting map[annex.Key]*annexWait
	gone    error
}

type annexWait struct {
	done     chan error
	progress func(int64)
}

// annexLine is a line of git-annex's JSON output: progress, or a result.
type annexLine struct {
	Key      string   `json:"key"`
	Success  *bool    `json:"success"`
	Note     string   `json:"note"`
	Errors   []string `json:"error-messages"`
	Progress *int64   `json:"byte-progress"`
	Action   *struct {
		Key string `json:"key"`
	} `json:"action"`
}

// get brings a key's content into the hidden clone's objects.
func (c *annexChild) get(ctx context.Context, key annex.Key, progress func(int64)) error {
	r, err := c.start(ctx)
	if err != nil {
		return err
	}
	w := &annexWait{done: make(chan error, 1), progress: progress}
	r.mu.Lock()
	if r.gone != nil {
		r.mu.Unlock()
		return r.gone
	}
	r.waiting[key] = w
	r.mu.Unlock()
	c.dropPoison(key)
	if _, err := io.WriteString(r.in, key.String()+"\n"); err != nil {
		r.forget(key)
		return fmt.Errorf("git-annex ended: %s", r.why(err))
	}
	select {
	case err := <-w.done:
		c.rest()
		return err
	case <-ctx.Done():
		// git-annex cannot be told to stop one key. Alone it is ended, which
		// keeps what it has; else it goes on for nobody.
		if r.forget(key) == 0 {
			c.stop(r)
		}
		return ctx.Err()
	}
}

// dropPoison removes a temporary file of git-annex that is larger than the
// key: git-annex would ask for the rest of it for ever.
func (c *annexChild) dropPoison(key annex.Key) {
	tmp := filepath.Join(c.dir, "annex", "tmp", key.FileName())
	size, ok := key.Size()
	if st, err := os.Lstat(tmp); err == nil && ok && st.Size() > size {
		os.Remove(tmp)
	}
}

// start returns the running git-annex, starting it when there is none.
func (c *annexChild) start(ctx context.Context) (*annexRun, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errors.New("the dataset is closed")
	}
	if c.idle != nil {
		c.idle.Stop()
	}
	if c.run != nil {
		select {
		case <-c.run.ended:
		default:
			return c.run, nil
		}
	}
	if !c.enabled {
		c.enableRemotes(ctx)
		c.enabled = true
	}
	r := &annexRun{ended: make(chan struct{}), said: &progressWriter{}, waiting: make(map[annex.Key]*annexWait)}
	r.cmd = c.command("get", "--batch-keys", "--json", "--json-progress", "--json-error-messages", fmt.Sprintf("-J%d", annexJobs))
	r.cmd.Stderr = r.said
	in, err := r.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	r.in = in
	if err := startLocked(r.cmd, func() {
		r.read(out)
		r.end(r.cmd.Wait())
	}); err != nil {
		return nil, fmt.Errorf("git-annex: %w", err)
	}
	c.run = r
	return r, nil
}

func (c *annexChild) command(args ...string) *exec.Cmd {
	if c.allow != "" {
		args = append(args, "-c", "annex.security.allowed-ip-addresses="+c.allow)
	}
	cmd := exec.Command(AnnexProgram(), args...)
	cmd.Dir = c.dir
	cmd.Env = gitProgram{env: c.env}.environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// startLocked starts a command from a thread that lives as long as it: the
// kernel ties Pdeathsig to the thread. then must wait for the command.
func startLocked(cmd *exec.Cmd, then func()) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			then()
		}
	}()
	return <-started
}

// read takes git-annex's answers until its output ends.
func (r *annexRun) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(make([]byte, 64<<10), 16<<20)
	for lines.Scan() {
		var l annexLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			continue
		}
		name := l.Key
		if l.Action != nil {
			name = l.Action.Key
		}
		key, err := annex.ParseKey(name)
		if err != nil {
			continue
		}
		r.answer(key, l)
	}
}

func (r *annexRun) answer(key annex.Key, l annexLine) {
	r.mu.Lock()
	w := r.waiting[key]
	if l.Success != nil {
		delete(r.waiting, key)
	}
	r.mu.Unlock()
	switch {
	case w == nil:
	case l.Success == nil:
		if l.Progress != nil {
			w.progress(*l.Progress)
		}
	case *l.Success:
		w.done <- nil
	default:
		w.done <- annexError(append(l.Errors, l.Note))
	}
}

// annexError makes an error of what git-annex says.
func annexError(said []string) error {
	text := lastLines(strings.Join(said, "\n"), 4)
	if len(text) > 300 {
		text = text[:300] + "…"
	}
	if strings.Contains(text, "not enough free space") || strings.Contains(text, "No space left") {
		return fmt.Errorf("%s: %w", text, syscall.ENOSPC)
	}
	if text == "" {
		text = "failed, and does not say why"
	}
	return errors.New(text)
}

// end tells all who still wait that the process is gone.
func (r *annexRun) end(err error) {
	why := errors.New("git-annex ended: " + r.why(err))
	r.mu.Lock()
	r.gone = why
	for _, w := range r.waiting {
		w.done <- why
	}
	clear(r.waiting)
	r.mu.Unlock()
	close(r.ended)
}

func (r *annexRun) why(err error) string {
	if err == nil {
		return "no reason given"
	}
	return err.Error()
}

func (r *annexRun) forget(key annex.Key) (left int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, key)
	return len(r.waiting)
}

// rest ends git-annex after a while without work.
func (c *annexChild) rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle != nil {
		c.idle.Stop()
	}
	r := c.run
	c.idle = time.AfterFunc(annexIdle, func() {
		if r != nil && r.forget(annex.Key{}) == 0 {
			c.stop(r)
		}
	})
}

// stop ends a git-annex and returns when it is gone.
func (c *annexChild) stop(r *annexRun) {
	c.mu.Lock()
	if c.run == r {
		c.run = nil
	}
	c.mu.Unlock()
	syscall.Kill(-r.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-r.ended:
	case <-time.After(3 * time.Second):
		syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
		<-r.ended
	}
}

// Close ends git-annex.
func (c *annexChild) Close() error {
	c.mu.Lock()
	c.closed = true
	r := c.run
	if c.idle != nil {
		c.idle.Stop()
	}
	c.mu.Unlock()
	if r != nil {
		c.stop(r)
	}
	return nil
}

// enableRemotes sets up the special remotes that only move bytes. Those that
// run programs, or read this machine's directories, stay off.
func (c *annexChild) enableRemotes(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, name := range c.safeRemotes(ctx) {
		cmd := c.command("enableremote", name, "autoenable=false")
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := runGroup(ctx, cmd); err != nil {
			c.log.Info("special remote not enabled", "remote", name, "said", lastLines(said.String(), 2))
			continue
		}
		// Newer versions of git-annex ask the user to look at a remote first.
		// What it sends is verified here anyway.
		git := gitProgram{path: FindGit(), env: c.env}
		if _, err := git.run(ctx, nil, "-C", c.dir, "config", "remote."+name+".annex-verified", "verified"); err != nil {
			c.log.Info("special remote not marked as verified", "remote", name, "err", err)
		}
	}
}

// safeRemotes names the special remotes of the git-annex branch that hold
// content behind public URLs.
func (c *annexChild) safeRemotes(ctx context.Context) (names []string) {
	git := gitProgram{path: FindGit(), env: c.env}
	if git.path == "" {
		return nil
	}
	log, err := git.run(ctx, nil, "-C", c.dir, "cat-file", "blob", "refs/heads/git-annex:remote.log")
	if err != nil {
		return nil
	}
	for _, config := range annex.ParseRemoteLog([]byte(log)) {
		public := config.Type() == "httpalso" || config.Type() == "S3" && (config["publicurl"] != "" || config["public"] == "yes")
		if name := config.Name(); public && name != "" && !strings.HasPrefix(name, "-") {
			names = append(names, name)
		}
	}
	return names
}

// annexSource is git-annex itself: whatever remote it knows.
type annexSource struct {
	child *annexChild
	key   annex.Key
}

func (s *annexSource) String() string { return "git-annex" }
func (s *annexSource) Exact() bool    { return true }

// Fetch is not how git-annex works; Place is.
func (s *annexSource) Fetch(context.Context, int64, int64, io.Writer) error {
	return errors.ErrUnsupported
}

// Place lets git-annex bring the content and moves it to path.
func (s *annexSource) Place(ctx context.Context, path string, progress func(done int64)) error {
	object := filepath.Join(s.child.dir, "annex", "objects", s.key.ObjectPath())
	// What is there already, git-annex passes over without a word.
	if _, err := os.Lstat(object); err != nil {
		if err := s.child.get(ctx, s.key, progress); err != nil {
			return err
		}
	}
	dir := filepath.Dir(object)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if err := os.Rename(object, path); err != nil {
		return err
	}
	// Only empty directories go.
	for range 3 {
		if os.Remove(dir) != nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	return os.Chmod(path, 0o600)
}
