package upper

import (
	"cmp"
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

// byHelper has fuse-overlayfs serve a connection. It ends with the calling thread.
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
	device, err := o.Attach()
	if err != nil {
		return err
	}
	defer device.Close()
	inherited := append(slices.Clone(o.opened), device)
	number := func(f *os.File) int { return 3 + slices.Index(inherited, f) }
	cmd := exec.Command(path, "-f", "-o", o.layers(number), fmt.Sprintf("/dev/fd/%d", number(device)))
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = said, said, inherited
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setsid: true}
	if err := cmd.Start(); err != nil {
		o.Unmount(true)
		return fmt.Errorf("fuse-overlayfs cannot be started: %w", err)
	}
	device.Close() // from now on it is fuse-overlayfs's alone: what waits for it fails when that ends
	gone := make(chan struct{})
	var ended error
	go func() {
		ended = cmd.Wait()
		close(gone)
	}()
	late := time.AfterFunc(helperStarts, func() { cmd.Process.Kill() })
	defer late.Stop()
	var st unix.Stat_t
	if err := unix.Stat(o.Target, &st); err != nil {
		cmd.Process.Kill()
		<-gone
		o.Unmount(true)
		said.Seek(0, io.SeekStart)
		text, _ := io.ReadAll(io.LimitReader(said, 4096))
		return fmt.Errorf("fuse-overlayfs refuses: %w: %s", cmp.Or(ended, err), strings.TrimSpace(strings.ToValidUTF8(string(text), "?")))
	}
	o.gone = gone
	return nil
}
