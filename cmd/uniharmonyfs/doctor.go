package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/doctor"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "what this system has and lacks, and how to mend it",
		Description: `Looks at FUSE, git, git-annex, the cache's disk, stale mounts and proxies, and
changes nothing. Exit code 1 when something must be mended before mounting.`,
		Flags: generalFlags(),
		Action: func(c *cli.Context) error {
			dir, err := cacheDir(c)
			if err != nil {
				return err
			}
			found := doctor.Examine(c.Context, dir)
			bad := 0
			for _, f := range found {
				if f.State == "bad" {
					bad++
				}
			}
			if c.Bool("json") {
				err = writeJSON(c.App.Writer, found)
			} else {
				writeFindings(c, found)
			}
			if err == nil && bad > 0 {
				return &advice.Error{Kind: advice.Failed, What: fmt.Sprintf("%s to mend", count(bad, "thing"))}
			}
			return err
		},
	}
}

func writeFindings(c *cli.Context, found []doctor.Finding) {
	var rows [][]string
	for _, f := range found {
		rows = append(rows, []string{f.State, f.What, printable(f.Says)})
		if f.Do != "" {
			rows = append(rows, []string{"", "", "→ " + printable(f.Do)})
		}
	}
	table(c.App.Writer, rows)
}
