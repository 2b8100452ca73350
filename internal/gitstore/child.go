package gitstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A child is one "git cat-file" process. Only one call uses it at a time.
type child struct {
	cmd    *exec.Cmd
	stdin  *os.File
	stdout *os.File
	in     *bufio.Writer
	out    *bufio.Reader
	stderr tail
	done   chan struct{} // closed when the process has been waited for
	idle   *time.Timer   // ends it after it was not used for a while
	synced bool          // its output stands at the end of an answer
}

// errDied says that a child ended in the middle of an answer.
var errDied = errors.New("git ended early")

// startChild starts cmd.
func startChild(cmd *exec.Cmd) (*child, error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		inR.Close()
		inW.Close()
		return nil, err
	}
	c := &child{
		cmd: cmd, stdin: inW, stdout: outR,
		in: bufio.NewWriterSize(inW, 4096), out: bufio.NewReaderSize(outR, 64<<10),
		done: make(chan struct{}),
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inR, outW, &c.stderr
	cmd.WaitDelay = time.Second
	started := make(chan error)
	go func() {
		// The child must die with us, and the kernel takes the thread that
		// started it for "us": so that thread stays until the child is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		inR.Close()
		outW.Close()
		started <- err
		if err == nil {
			cmd.Wait() // its state is in cmd.ProcessState
		}
		close(c.done)
	}()
	if err := <-started; err != nil {
		inW.Close()
		outR.Close()
		return nil, err
	}
	return c, nil
}

// kill ends the child at once; a call that is using it fails.
func (c *child) kill() { c.cmd.Process.Kill() } // fails only when it has ended

// end waits for the child and closes its pipes. Before, the child is asked to
// leave by the end of its input, and then made to.
func (c *child) end() {
	c.stdin.Close()
	select {
	case <-c.done:
	case <-time.After(time.Second):
		c.kill()
		<-c.done
	}
	c.stdout.Close()
}

// ask asks for ids and calls fn with the answers. It returns how many objects
// are done. The error wraps errDied when the child is the reason. Whether the
// child can be asked again is what good says afterwards.
func (c *child) ask(ctx context.Context, ids []OID, bare bool, fn func(i int, o object) error) (done int, good bool, err error) {
	stop := context.AfterFunc(ctx, c.kill)
	var writer sync.WaitGroup
	writer.Go(func() {
		for _, id := range ids {
			c.in.WriteString(string(id)) // bufio keeps the error
			if c.in.WriteByte('\n') != nil {
				return // the reader will see the child's end
			}
		}
		c.in.Flush()
	})
	for done < len(ids) && err == nil {
		if err = c.answer(ids[done], bare, func(o object) error { return fn(done, o) }); err == nil {
			done++
		}
	}
	good = c.synced && (err == nil || done == len(ids)-1)
	if !good {
		c.kill() // so that the writer stops
	}
	writer.Wait()
	if !stop() { // cancelled, and so killed
		good = false
		if err == nil || errors.Is(err, errDied) {
			err = ctx.Err()
		}
	}
	return done, good, err
}

// answer reads one answer: "ID KIND SIZE", the content, and a newline; or
// "ID missing".
func (c *child) answer(id OID, bare bool, fn func(object) error) error {
	c.synced = false
	line, err := c.out.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("%s: %w", id, errDied)
	}
	words := strings.Fields(string(line))
	if len(words) == 2 && words[0] == string(id) && words[1] == "missing" {
		c.synced = true
		return fmt.Errorf("%s: %w", id, ErrMissing)
	}
	if len(words) != 3 || words[0] != string(id) {
		return fmt.Errorf("%s: %w: unexpected answer %.100q", id, errDied, line)
	}
	size, err := strconv.ParseInt(words[2], 10, 64)
	if err != nil || size < 0 {
		return fmt.Errorf("%s: %w: git says size %.40q", id, ErrDamaged, words[2])
	}
	if bare {
		c.synced = true
		return fn(object{kind: words[1], size: size})
	}
	content := &contentReader{r: c.out, left: size}
	err = fn(object{kind: words[1], size: size, content: content})
	if content.died {
		return fmt.Errorf("%s: %w", id, errDied)
	}
	if err != nil {
		return err
	}
	// The object is delivered and must not be again: what fails from here on
	// is for the next answer to find out.
	_, err = io.CopyN(io.Discard, c.out, content.left+1)
	c.synced = err == nil
	return nil
}

// A contentReader reads the content of one object off a child's output, and
// remembers whether the output ended too early.
type contentReader struct {
	r    *bufio.Reader
	left int64
	died bool
}

func (c *contentReader) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if err != nil {
		c.died = true
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// A tail keeps the last bytes of a child's complaints.
type tail struct {
	mu sync.Mutex // guards b
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if extra := len(t.b) - 2048; extra > 0 {
		t.b = append(t.b[:0], t.b[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(t.b), "?")), " ")
}
