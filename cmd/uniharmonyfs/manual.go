package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/uniharmony/uniharmonyfs/internal/manual"
)

// oldCompletion is what completion scripts of the first versions append to the
// words of a command line. After a "--" it was an argument like others, and the
// command ran.
const oldCompletion = "--generate-bash-completion"

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print the shell's completion script",
		ArgsUsage: "bash|zsh|fish",
		Description: `The script knows the commands and flags by itself: completing a line never runs
the program.

EXAMPLES:
   source <(uniharmonyfs completion bash)
   uniharmonyfs completion zsh > "${fpath[1]}/_uniharmonyfs"
   uniharmonyfs completion fish > ~/.config/fish/completions/uniharmonyfs.fish`,
		Action: func(c *cli.Context) error {
			script, ok := manual.Completion(c.App, c.Args().First())
			if !ok {
				return usage("completion takes the name of a shell: bash, zsh or fish")
			}
			_, err := fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}

// manCommand writes the man pages for those who make packages.
func manCommand() *cli.Command {
	return &cli.Command{
		Name:      "man",
		Hidden:    true,
		Usage:     "write the man pages into a directory, dated by $SOURCE_DATE_EPOCH",
		ArgsUsage: "DIR",
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usage("man takes one directory")
			}
			date := ""
			if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
				seconds, err := strconv.ParseInt(epoch, 10, 64)
				if err != nil {
					return usage("SOURCE_DATE_EPOCH is no number of seconds: " + epoch)
				}
				date = time.Unix(seconds, 0).UTC().Format(time.DateOnly)
			}
			for name, page := range manual.Pages(c.App, date) {
				if err := os.WriteFile(filepath.Join(c.Args().First(), name), []byte(page), 0o644); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
