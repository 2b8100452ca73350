// Package doctor looks at all that this system must have: FUSE, git, git-annex, the
// cache directory, mounts and proxies. It changes nothing.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/fs"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
)

// A Finding is what the doctor found about one thing.
type Finding struct {
	What  string `json:"what"`
	State string `json:"state"` // ok, note, or bad
	Says  string `json:"says"`
	Do    string `json:"do,omitempty"`
}

// Examine looks at all that this system must have, without changing it.
func Examine(ctx context.Context, dir cachedir.Dir) []Finding {
	return slices.Concat(
		[]Finding{examineFUSE(), examinePassthrough(), examineGit(ctx), examineAnnex(ctx)},
		examineCache(dir),
		[]Finding{examineMounts(), examineProxies()},
	)
}

func examineFUSE() Finding {
	f := Finding{What: "FUSE", State: "bad"}
	dev, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		f.Says, f.Do = "/dev/fuse is missing", "modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN"
		return f
	case err != nil:
		f.Says, f.Do = err.Error(), "ask the administrator to make /dev/fuse readable and writable for all (0666)"
		return f
	}
	dev.Close()
	if _, err := exec.LookPath("fusermount3"); err != nil && os.Geteuid() != 0 {
		f.Says, f.Do = "the program fusermount3 is missing, which mounts for ordinary users", "apt-get install fuse3"
		return f
	}
	f.State, f.Says = "ok", "available"
	return f
}

func examinePassthrough() Finding {
	f := Finding{What: "passthrough", State: "note"}
	var u unix.Utsname
	major, minor := 0, 0
	if unix.Uname(&u) == nil {
		fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	}
	switch {
	case major < 6 || major == 6 && minor < 9:
		f.Says = fmt.Sprintf("the kernel is %d.%d; from 6.9 on it reads cached files by itself (10 times faster)", major, minor)
	case os.Geteuid() != 0:
		f.Says = "the kernel reads cached files by itself only for mounts of root; yours go through its page cache"
	default:
		f.State, f.Says = "ok", "the kernel reads cached files by itself"
	}
	return f
}

func examineGit(ctx context.Context) Finding {
	if v := fetch.GitVersion(ctx); v != "" {
		return Finding{What: "git", State: "ok", Says: v}
	}
	return Finding{What: "git", State: "note", Says: "missing: datasets can be cloned from URLs only", Do: "apt-get install git"}
}

func examineAnnex(ctx context.Context) Finding {
	v := fetch.AnnexVersion(ctx)
	lacks := fetch.AnnexLacks(v)
	switch {
	case v == "":
		return Finding{What: "git-annex", State: "note", Says: "missing: content comes from URLs only", Do: "apt-get install git-annex"}
	case lacks != "":
		return Finding{What: "git-annex", State: "note", Says: v + ": " + lacks, Do: "pip install git-annex brings a newer one"}
	}
	return Finding{What: "git-annex", State: "ok", Says: v}
}

func examineCache(dir cachedir.Dir) []Finding {
	const elsewhere = "choose another place with --cache DIR"
	at := string(dir)
	there, err := os.Stat(at)
	for err != nil && at != "/" {
		at = filepath.Dir(at)
		there, err = os.Stat(at)
	}
	found := []Finding{{What: "cache", State: "ok", Says: string(dir)}}
	var st unix.Statfs_t
	if err := unix.Statfs(at, &st); err != nil {
		return append(found, Finding{What: "space", State: "bad", Says: err.Error(), Do: elsewhere})
	}
	switch {
	case there != nil && !there.IsDir():
		found[0] = Finding{What: "cache", State: "bad", Says: at + " is not a directory", Do: elsewhere}
	case unix.Access(at, unix.W_OK) != nil:
		found[0] = Finding{What: "cache", State: "bad", Says: at + " cannot be written to", Do: elsewhere}
	}
	const nfs, smb, cifs = 0x6969, 0x517B, 0xFF534D42
	if t := int64(st.Type); found[0].State == "ok" && (t == nfs || t == smb || t == cifs) {
		found[0].State, found[0].Says, found[0].Do = "note", string(dir)+" lies on a network file system", "a local disk is faster and its locks are safer: --cache DIR"
	}
	free := int64(st.Bavail) * st.Bsize
	space := Finding{What: "space", State: "ok", Says: fmt.Sprintf("%.1f GiB free", float64(free)/(1<<30))}
	if free < 2<<30 {
		space.State, space.Do = "note", "free some, or choose another disk with --cache DIR"
	}
	return append(found, space)
}

// examineMounts finds mounts whose daemon is dead. Only the lock is asked: a
// look at the mount itself could hang.
func examineMounts() Finding {
	f := Finding{What: "mounts", State: "ok", Says: "none"}
	mounts, err := fs.ListMounts()
	if err != nil {
		return Finding{What: "mounts", State: "note", Says: err.Error()}
	}
	var live, stale []string
	for _, m := range mounts {
		dir, ok := cachedir.OfMount(m.FsName)
		if held, err := dir.IsLocked(); ok && (err != nil && !errors.Is(err, syscall.EACCES) || err == nil && !held) {
			stale = append(stale, m.Target)
		} else {
			live = append(live, m.Target)
		}
	}
	if len(live) > 0 {
		f.Says = strings.Join(live, ", ")
	}
	if len(stale) > 0 {
		f.State, f.Says = "bad", "the daemon of "+strings.Join(stale, ", ")+" is gone"
		if len(live) > 0 {
			f.Says += "; served are " + strings.Join(live, ", ")
		}
		f.Do = "uniharmonyfs unmount " + stale[0] + ", or mount there again"
	}
	return f
}

func examineProxies() Finding {
	var set []string
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
		if v := os.Getenv(name); v != "" {
			set = append(set, name)
		}
	}
	if len(set) == 0 {
		return Finding{What: "proxy", State: "ok", Says: "none set"}
	}
	return Finding{What: "proxy", State: "note", Says: strings.Join(set, ", ") + " set: downloads go through it"}
}
