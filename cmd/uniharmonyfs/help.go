package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/internal/manual"

	"github.com/urfave/cli/v2"
)

// rare are the flags of many commands that few people need: --help-all shows them.
// A flag that one command has for itself is always shown.
var rare = []string{
	"allow-address", "allow-other", "bids-filter-file", "cache-name", "code", "companions", "derivatives", "entity", "exclude",
	"fetcher", "include", "intended-for", "json-progress", "no-readahead", "openneuro-url", "patience", "root-files", "sourcedata", "timeout",
	"verify", "where",
}

// setHelp makes --help print the few flags that most people need, a line each,
// and all of them where all is set.
func setHelp(all bool) {
	cli.FlagStringer = flagLine
	cli.HelpFlag = &cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "show the most used flags; --help-all shows all", DisableDefaultText: true, Category: catGeneral}
	print := cli.HelpPrinterCustom
	cli.HelpPrinter = func(w io.Writer, template string, data any) {
		cmd, ok := data.(*cli.Command)
		if !ok {
			print(w, template, data, nil)
			return
		}
		shown := &cli.Command{Name: cmd.Name, HelpName: cmd.HelpName, Usage: cmd.Usage, UsageText: cmd.UsageText, ArgsUsage: cmd.ArgsUsage, Description: cmd.Description, Category: cmd.Category}
		left := 0
		for _, f := range cmd.Flags {
			switch {
			case manual.IsHidden(f):
			case isRare(f) && !all:
				left++
			default:
				shown.Flags = append(shown.Flags, f)
			}
		}
		print(w, template, shown, nil)
		if left > 0 {
			fmt.Fprintf(w, "%d more flags: uniharmonyfs %s --help-all\n", left, cmd.Name)
		}
	}
}

func isRare(f cli.Flag) bool {
	if c, ok := f.(cli.CategorizableFlag); ok && c.GetCategory() == catEntities {
		return true
	}
	return slices.Contains(rare, f.Names()[0])
}

// flagLine is a flag in a line of --help, its names once.
func flagLine(f cli.Flag) string {
	doc := manual.FlagOf(f)
	left := strings.Join(doc.Names, ", ")
	if doc.Value != "" {
		left += " " + doc.Value
	}
	return left + "\t" + doc.Usage
}

// wantsAllHelp reports whether --help-all is asked for, and returns the arguments
// with --help in its place.
func wantsAllHelp(args []string) (plain []string, all bool) {
	plain = slices.Clone(args)
	for i, a := range plain {
		if a == "--" {
			break
		}
		if a == "--help-all" {
			plain[i], all = "--help", true
		}
	}
	return plain, all
}
