package upper

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// helperStarts is how long fuse-overlayfs may take to mount.
const helperStarts = 20 * time.Second

// byHelper has fuse-overlayfs mount. It ends with the calling thread, by a signal at which
// it unmounts.
func (o *overlay) byHelper() error {
	path, err := exec.LookPath(byHelper)
	if err != nil {
		return errors.New("the program fuse-overlayfs is missing")
	}
	fd, err := unix.MemfdCreate(byHelper, unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	said := os.NewFile(uintptr(fd), byHelper)
	defer said.Close()
	inherited := slices.Clone(o.opened)
	options := o.layers(func(f *os.File) int { return 3 + slices.Index(inherited, f) })
	cmd := exec.Command(path, "-f", "-o", options, o.at)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = said, said, inherited
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setsid: true}
	before, err := device(o.at)
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("fuse-overlayfs cannot be started: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for began := time.Now(); time.Since(began) < helperStarts; {
		select {
		case err := <-ended:
			said.Seek(0, io.SeekStart)
			text, _ := io.ReadAll(io.LimitReader(said, 4096))
			return fmt.Errorf("fuse-overlayfs refuses: %w: %s", err, strings.TrimSpace(strings.ToValidUTF8(string(text), "?")))
		case <-time.After(5 * time.Millisecond):
		}
		if now, err := device(o.at); err == nil && now != before {
			return nil
		}
	}
	cmd.Process.Kill()
	<-ended
	return errors.New("fuse-overlayfs does not mount")
}

// device tells what is mounted at a path from what is not.
func device(path string) (uint64, error) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	return st.Dev, err
}
