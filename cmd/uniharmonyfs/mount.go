package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/upper"
)

func mountCommand() *cli.Command {
	return &cli.Command{
		Name:      "mount",
		Usage:     "show a dataset, or part of it, as a folder of plain files",
		ArgsUsage: "TARGET",
		Description: `TARGET is an empty or new directory. The files there are read-only; nothing is
downloaded until a file is read. The command returns when the mount is ready. With
/dev/fd/N as the TARGET, a connection is served that somebody has mounted already.

With --writable DIR the files can be changed: DIR/files has what was written, and
"changes DIR" tells what that is. The dataset stays as it is.

EXAMPLES:
   uniharmonyfs mount --sub 03286 ~/ds004712
   uniharmonyfs mount --sub 03286,10975 --modality anat,func --budget 50GiB ~/study
   uniharmonyfs mount --dataset ~/datasets/mine --task rest,@none ~/view
   uniharmonyfs mount --dataset ds000001 --version 1.0.0 ~/ds000001
   uniharmonyfs mount --openneuro ~/openneuro        # all of it; also ds000001@1.0.0
   uniharmonyfs mount --sub 03286 --writable ~/work ~/ds004712
   uniharmonyfs mount --foreground ~/ds004712        # for service managers`,
		Flags: flags(selectionFlags(), datasetFlags(), generalFlags(), viewFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "openneuro", Usage: "a folder of all datasets of OpenNeuro, and derivatives of them; DATASET@VERSION is found by name", Category: catDataset},
			&cli.StringSliceFlag{Name: "catalog", Usage: "a folder of the datasets of this `SUPERDATASET`, given as for --dataset (may be repeated)", Category: catDataset},
			writableFlag(),
			&cli.BoolFlag{Name: "foreground", Aliases: []string{"f"}, Usage: "stay until the mount is gone; a signal unmounts", Category: catGeneral},
			&cli.BoolFlag{Name: "allow-other", Usage: "other users may read the mount", Category: catGeneral},
		}),
		Action: runMount,
	}
}

// descriptors is how targets begin that are descriptors of this process.
const descriptors = "/dev/fd/"

// handOver offers the daemon a descriptor of /dev/fuse that somebody has mounted, as the
// FUSE library and the programs that know it pass one: in place of the target.
func handOver(client *control.Client, number string, req *control.MountRequest) (done func(), err error) {
	n, err := strconv.ParseUint(number, 10, 31)
	if err != nil {
		return nil, usage("/dev/fd/" + number + " is no descriptor")
	}
	f := os.NewFile(uintptr(n), req.Target)
	if _, err := f.Stat(); err != nil {
		return nil, &advice.Error{Kind: advice.CannotMount, What: "cannot mount at " + req.Target, Why: "no such descriptor is open"}
	}
	offer, stop, err := client.Offer(f)
	if err != nil {
		return nil, err
	}
	req.Device, req.Target = offer, fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n)
	return func() { stop(); f.Close() }, nil
}

// viewFlags say how the files of a view are read.
func viewFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "budget", Usage: "disk space for cached files, kept for later mounts too (default: 20GiB)", Category: catGeneral},
		&cli.BoolFlag{Name: "prefetch", Usage: "fetch all of it in the background, as far as the budget goes", Category: catGeneral},
		&cli.DurationFlag{Name: "patience", Value: control.DefaultPatience, Usage: "how long a read waits while no source can be reached, before it fails; 0 is not at all", Category: catGeneral},
		&cli.StringFlag{Name: "verify", Value: "auto", Usage: "auto: files from sources that name the exact version are served as they arrive, their end when all is verified; strict: nothing is served before that", Category: catGeneral},
		&cli.BoolFlag{Name: "no-readahead", Usage: "fetch nothing but what is being read: no rest of it, no files that may follow", Category: catGeneral},
	}
}

func runMount(c *cli.Context) error {
	req, err := mountRequest(c)
	if err != nil {
		return err
	}
	n, given := strings.CutPrefix(req.Target, descriptors)
	client, end, err := connectForMount(c, given)
	defer func() { report(os.Stderr, false, end()) }()
	if err != nil {
		return err
	}
	handedOver := func() {}
	if given {
		if handedOver, err = handOver(client, n, &req); err != nil {
			return err
		}
	}
	p := newProgress(c)
	info, err := client.Mount(c.Context, req, p.show)
	p.done()
	handedOver() // nobody but the daemon keeps the connection
	if err != nil {
		return err
	}
	if err := sayMounted(c, info); err != nil || !c.Bool("foreground") {
		return err
	}
	return stay(c, client, info.Target)
}

func mountRequest(c *cli.Context) (req control.MountRequest, err error) {
	if c.NArg() != 1 {
		return req, usage(fmt.Sprintf("mount takes one TARGET directory, not %d", c.NArg()), "for example: uniharmonyfs mount --sub 03286 ~/ds004712")
	}
	target, err := filepath.Abs(c.Args().First())
	if err != nil {
		return req, err
	}
	if req, err = viewRequest(c); err != nil {
		return req, err
	}
	req.Target = target
	if req.Catalogs, err = catalogs(c, &req.Dataset); err != nil {
		return req, err
	}
	req.OpenNeuro = c.Bool("openneuro")
	req.AllowOther = c.Bool("allow-other")
	if !c.IsSet("writable") {
		return req, nil
	}
	if strings.HasPrefix(target, descriptors) || len(req.Catalogs) > 0 {
		return req, usage("--writable is for a mount of one dataset at a TARGET")
	}
	req.Writable, err = upper.Check(c.String("writable"))
	return req, err
}

// viewRequest reads what is shown, and how it is read.
func viewRequest(c *cli.Context) (req control.MountRequest, err error) {
	if req.Selection, err = selection(c); err != nil {
		return req, err
	}
	if req.Dataset, err = dataset(c); err != nil {
		return req, err
	}
	switch verify := c.String("verify"); verify {
	case "auto":
	case "strict":
		req.Strict = true
	default:
		return req, usage(fmt.Sprintf("--verify %s is neither auto nor strict", verify))
	}
	if patience := c.Duration("patience"); c.IsSet("patience") {
		if patience < 0 {
			return req, usage("--patience is not negative; 0 does not wait at all")
		}
		req.Patience = &patience
	}
	req.Umask = callersUmask()
	req.NoReadAhead, req.Prefetch = c.Bool("no-readahead"), c.Bool("prefetch")
	req.Budget, err = bytesFlag(c, "budget")
	return req, err
}

func sayMounted(c *cli.Context, m control.MountInfo) error {
	if c.Bool("json") {
		return writeJSON(c.App.Writer, m)
	}
	if c.Bool("quiet") {
		return nil
	}
	sayHints(m, m.Target)
	if len(m.Catalogs) > 0 {
		fmt.Fprintf(c.App.Writer, "Mounted a folder of %s at %s. Unmount with: uniharmonyfs unmount %s\n", count(m.Subdatasets, "dataset"), m.Target, shellQuote(m.Target))
		return nil
	}
	version := m.Version
	if version == "" {
		version = m.Commit[:min(12, len(m.Commit))]
	}
	what := count(m.Files, "file") + ", " + size(m.Bytes)
	if m.Subdatasets > 0 {
		what += ", and " + count(m.Subdatasets, "subdataset")
	}
	if strings.HasPrefix(c.Args().First(), descriptors) {
		// The output is that of the container's command.
		fmt.Fprintf(os.Stderr, "Mounted %s, of %s (%s), on the connection that was given. It ends when that is unmounted.\n", what, printable(m.Dataset), printable(version))
		return nil
	}
	fmt.Fprintf(c.App.Writer, "Mounted %s, of %s (%s) at %s. Unmount with: uniharmonyfs unmount %s\n",
		what, printable(m.Dataset), printable(version), m.Target, shellQuote(m.Target))
	return nil
}

// sayHints tells what a person should know of a view.
func sayHints(m control.MountInfo, target string) {
	for _, h := range m.Hints {
		fmt.Fprintf(os.Stderr, "hint: %s\n", printable(h))
	}
	if n := len(m.Hidden); n > 0 {
		fmt.Fprintf(os.Stderr, "note: %s cannot be shown (%s: %s …); see %s/.uniharmonyfs/dataset\n",
			count(n, "file"), printable(m.Hidden[0].Path), printable(m.Hidden[0].Why), target)
	}
}

// stay waits for the end of the mount, and unmounts at a signal.
func stay(c *cli.Context, client *control.Client, target string) error {
	err := client.Wait(c.Context, target)
	if c.Context.Err() == nil {
		return err
	}
	ctx, cancel := lastWords()
	defer cancel()
	if _, err = client.Unmount(ctx, control.UnmountRequest{Target: target, Force: true}); err == nil {
		return nil
	}
	// A container's mount may have gone at that moment.
	st, bad := client.Status(ctx, control.StatusRequest{})
	if bad == nil && !slices.ContainsFunc(st.Mounts, func(m control.MountInfo) bool { return m.Target == target }) {
		return nil
	}
	return err
}

func unmountCommand() *cli.Command {
	return &cli.Command{
		Name:      "unmount",
		Aliases:   []string{"umount"},
		Usage:     "take mounts away; with --clean what they brought, too",
		ArgsUsage: "TARGET…",
		Description: `Without --clean the fetched files stay cached for the next mount. With --clean
they go, and when nothing else uses the cache, the cache goes too; pinned files
stay.

EXAMPLES:
   uniharmonyfs unmount ~/ds004712
   uniharmonyfs unmount --clean ~/ds004712
   uniharmonyfs unmount --force ~/ds004712           # even while it is in use`,
		Flags: flags([]cli.Flag{
			&cli.BoolFlag{Name: "clean", Usage: "drop what the mount brought, but not pinned files"},
			&cli.BoolFlag{Name: "force", Usage: "even while programs use it"},
		}, generalFlags()),
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return usage("unmount takes the TARGET directory of a mount", "see what is mounted with: uniharmonyfs status")
			}
			for _, target := range c.Args().Slice() {
				if err := unmount(c, target); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// unmount finds the mount's cache in the system's table of mounts, so that it
// works whatever --cache the mount was made with.
func unmount(c *cli.Context, target string) error {
	target, err := mountPath(target)
	if err != nil {
		return err
	}
	dir, found, err := control.MountOf(target)
	if err != nil {
		return err
	}
	if !found {
		return &advice.Error{Kind: advice.CannotMount, What: "cannot unmount " + target, Why: "no mount of uniharmonyfs is there", Do: []string{"see what is mounted with: uniharmonyfs status"}}
	}
	client, err := connectTo(c, dir, anyVersion)
	if err != nil {
		return err
	}
	res, err := client.Unmount(c.Context, control.UnmountRequest{Target: target, Clean: c.Bool("clean"), Force: c.Bool("force")})
	if err != nil {
		return err
	}
	switch {
	case c.Bool("json"):
		return writeJSON(c.App.Writer, res)
	case c.Bool("quiet"):
	case res.Removed:
		fmt.Fprintf(c.App.Writer, "Unmounted %s and removed the cache %s (%s, %s).\n", target, dir, count(res.Files, "file"), size(res.Bytes))
	case c.Bool("clean"):
		fmt.Fprintf(c.App.Writer, "Unmounted %s and dropped %s, %s, from the cache.\n", target, count(res.Files, "file"), size(res.Bytes))
	default:
		fmt.Fprintf(c.App.Writer, "Unmounted %s.\n", target)
	}
	return nil
}

// mountPath makes a mount's path absolute and real without touching the mount
// itself, which may be dead.
func mountPath(target string) (string, error) {
	abs, err := filepath.Abs(target)
	if err != nil {
		return "", err
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return abs, nil
	}
	real := filepath.Join(parent, filepath.Base(abs))
	if to, err := os.Readlink(real); err == nil {
		if !filepath.IsAbs(to) {
			to = filepath.Join(parent, to)
		}
		return mountPath(to)
	}
	return real, nil
}
