package manual

import (
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// documented returns the commands that are for people.
func documented(app *cli.App) []*cli.Command {
	return slices.DeleteFunc(app.VisibleCommands(), func(c *cli.Command) bool { return c.Name == "help" })
}

// A Flag is a flag as documents and completion scripts show it.
type Flag struct {
	Names []string // with their dashes, the first one is the flag's own
	Value string   // its name; empty where the flag takes none
	Usage string
}

// documentedFlags returns a command's flags, also those that every command has.
func documentedFlags(cmd *cli.Command) (docs []Flag) {
	for _, f := range cmd.Flags {
		if f.Names()[0] != "help" && !IsHidden(f) {
			docs = append(docs, FlagOf(f))
		}
	}
	return append(docs, FlagOf(cli.HelpFlag), Flag{Names: []string{"--help-all"}, Usage: "show all flags"})
}

// short returns the flag's own name and, where there is one, its letter.
func (f Flag) short() []string {
	return slices.DeleteFunc(slices.Clone(f.Names), func(n string) bool { return n != f.Names[0] && len(n) > 2 })
}

var quoted = regexp.MustCompile("`([^`]*)`")

// FlagOf says what there is to say of a flag.
func FlagOf(f cli.Flag) (d Flag) {
	for _, n := range f.Names() {
		if len(n) == 1 {
			d.Names = append(d.Names, "-"+n)
		} else {
			d.Names = append(d.Names, "--"+n)
		}
	}
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return d
	}
	d.Usage = doc.GetUsage()
	value := "VALUE"
	if m := quoted.FindStringSubmatch(d.Usage); m != nil {
		value = m[1]
		d.Usage = strings.ReplaceAll(d.Usage, "`", "")
	}
	if doc.TakesValue() {
		d.Value = value
		if def := doc.GetDefaultText(); def != "" && !strings.Contains(d.Usage, "(default: ") {
			d.Usage += " (default: " + strings.Trim(def, `"`) + ")"
		}
	}
	if env := doc.GetEnvVars(); len(env) > 0 {
		d.Usage += " [$" + strings.Join(env, ", $") + "]"
	}
	return d
}

// IsHidden reports whether a flag is shown nowhere.
func IsHidden(f cli.Flag) bool {
	v, ok := f.(cli.VisibleFlag)
	return ok && !v.IsVisible()
}
