package main

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/uniharmony/uniharmonyfs/internal/job"
)

func main() {
	ctx, stop := context.WithCancel(context.Background())
	if heeded := job.Heeded(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP); len(heeded) > 0 { // none would be all
		ctx, stop = signal.NotifyContext(ctx, heeded...)
	}
	defer stop()
	os.Exit(run(ctx, os.Args))
}

// run is main without the process: arguments in, exit code out.
func run(ctx context.Context, args []string) int {
	// exec, which these versions did not have, leaves it to its command.
	if len(args) > 1 && args[len(args)-1] == oldCompletion && args[1] != "exec" {
		return exitDone
	}
	args, all := wantsAllHelp(args)
	setHelp(all)
	app := newApp()
	args, err := permute(app, args)
	if err == nil {
		err = app.RunContext(ctx, args)
	}
	return report(os.Stderr, wantsJSON(args), err)
}

func newApp() *cli.App {
	app := &cli.App{
		Name:                   "uniharmonyfs",
		Usage:                  "git-annex BIDS datasets as folders of plain files, fetched as they are read",
		Version:                programVersion(),
		HideVersion:            true,
		UseShortOptionHandling: false,
		// Errors are reported once, by run.
		ExitErrHandler:  func(*cli.Context, error) {},
		OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return usage(err.Error()) },
		CommandNotFound: func(*cli.Context, string) {}, // permute has told
		Description:     description,
		Commands: []*cli.Command{
			mountCommand(), unmountCommand(), execCommand(), changesCommand(), getCommand(), listCommand(),
			prefetchCommand(), pinCommand(), unpinCommand(), evictCommand(), verifyCommand(),
			statusCommand(), cleanCommand(), doctorCommand(), demoCommand(),
			completionCommand(), versionCommand(), manCommand(), daemonCommand(), checkIndexCommand(), insideCommand(),
		},
	}
	for _, c := range app.Commands {
		c.HideHelpCommand = true
		c.OnUsageError = func(c *cli.Context, err error, _ bool) error {
			do := []string{"see uniharmonyfs " + c.Command.Name + " --help"}
			if _, name, ok := strings.Cut(err.Error(), "not defined: -"); ok {
				do = append([]string{"did you mean " + cli.SuggestFlag(c.Command.Flags, name, false) + "?"}, do...)
			}
			return usage(err.Error(), do...)
		}
	}
	return app
}

const description = `A dataset is mounted in a second and nothing is downloaded: a read fetches the
file's content into a hidden cache, checked against its git-annex key.

   uniharmonyfs mount --sub 03286 --modality anat,func ~/ds004712
   uniharmonyfs list --sub 03286 --suffix T1w -l
   uniharmonyfs get --sub 03286 --suffix T1w ~/t1w
   uniharmonyfs unmount --clean ~/ds004712

EXIT CODES:
   0 done; 1 failed; 2 wrong usage; 3 nothing matches the selection;
   4 dataset or source unreachable; 5 no space; 6 cannot mount or unmount;
   7 part of the files failed; 130 interrupted`
