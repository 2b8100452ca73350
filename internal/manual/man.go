package manual

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// Pages are the man pages of a program by their file names: one of the program and one
// of each command. date is of their last change, or "".
func Pages(app *cli.App, date string) map[string]string {
	commands := documented(app)
	pages := map[string]string{"uniharmonyfs.1": programPage(app, commands, date)}
	for _, c := range commands {
		pages["uniharmonyfs-"+c.Name+".1"] = commandPage(app, c, date)
	}
	return pages
}

func programPage(app *cli.App, commands []*cli.Command, date string) string {
	p := newPage(app, "uniharmonyfs", app.Usage, date)
	p.write(".B uniharmonyfs\n.I command\n.RI [ flags ]\n.RI [ arguments ]\n")
	p.describe(app.Description)
	p.write(".SH COMMANDS\n")
	env := make(map[string]string)
	for _, c := range commands {
		p.write(".TP\n.BR %s (1)\n%s\n", roff("uniharmonyfs-"+c.Name), roff(c.Usage))
		for _, f := range c.Flags {
			if doc, ok := f.(cli.DocGenerationFlag); ok {
				for _, e := range doc.GetEnvVars() {
					env[e] = f.Names()[0]
				}
			}
		}
	}
	p.write(".SH ENVIRONMENT\n")
	for _, e := range slices.Sorted(maps.Keys(env)) {
		p.write(".TP\n.B %s\nthe default of the flag \\fB%s\\fR\n", roff(e), roff("--"+env[e]))
	}
	p.write(".SH FILES\n.TP\n.I %s\n%s\n", roff("~/.cache/uniharmonyfs"), roff("the cache, if neither --cache nor $XDG_CACHE_HOME says otherwise; the home directory is $HOME or, without that, that of the list of users"))
	p.write(".TP\n.I %s\n%s\n", roff("~/.config/uniharmonyfs/NAME.conf"), roff("settings of the systemd user service uniharmonyfs@NAME: the variables TARGET and ARGS"))
	p.write(".SH SEE ALSO\n")
	for _, c := range commands {
		p.write(".BR %s (1),\n", roff("uniharmonyfs-"+c.Name))
	}
	p.write(".BR git-annex (1),\n.BR fusermount3 (1)\n")
	return p.String()
}

func commandPage(app *cli.App, c *cli.Command, date string) string {
	p := newPage(app, "uniharmonyfs-"+c.Name, c.Usage, date)
	for i, name := range c.Names() {
		if i > 0 {
			p.write(".br\n")
		}
		p.write(".B uniharmonyfs %s\n.RI [ flags ]\n", roff(name))
		if c.ArgsUsage != "" {
			p.write("%s\n", roff(c.ArgsUsage))
		}
	}
	p.describe(c.Description)
	p.write(".SH OPTIONS\n")
	var categories []string
	byCategory := make(map[string][]Flag)
	for _, f := range slices.Concat(c.Flags, []cli.Flag{cli.HelpFlag}) {
		if IsHidden(f) || f.Names()[0] == "help" && f != cli.HelpFlag {
			continue
		}
		category := ""
		if in, ok := f.(cli.CategorizableFlag); ok {
			category = in.GetCategory()
		}
		if !slices.Contains(categories, category) {
			categories = append(categories, category)
		}
		byCategory[category] = append(byCategory[category], FlagOf(f))
	}
	slices.SortStableFunc(categories, func(a, b string) int { return min(len(a), 1) - min(len(b), 1) }) // the command's own first
	for _, category := range categories {
		if category != "" {
			p.write(".SS %s\n", roff(category))
		}
		for _, f := range byCategory[category] {
			names := make([]string, len(f.Names))
			for i, n := range f.Names {
				names[i] = `\fB` + roff(n) + `\fR`
			}
			p.write(".TP\n%s", strings.Join(names, ", "))
			if f.Value != "" {
				p.write(" \\fI%s\\fR", roff(f.Value))
			}
			p.write("\n%s\n", roff(f.Usage))
		}
	}
	p.write(".SH SEE ALSO\n.BR uniharmonyfs (1)\n")
	return p.String()
}

// A page is a man page that is being written.
type page struct{ strings.Builder }

func newPage(app *cli.App, name, usage, date string) *page {
	p := new(page)
	p.write(".TH %s 1 \"%s\" \"uniharmonyfs %s\" \"uniharmonyfs\"\n", roff(strings.ToUpper(name)), date, roff(app.Version))
	p.write(".SH NAME\n%s \\- %s\n.SH SYNOPSIS\n", roff(name), roff(usage))
	return p
}

func (p *page) write(format string, a ...any) { fmt.Fprintf(p, format, a...) }

// describe writes a description: lines in capitals that end in a colon are
// headings, what is indented stays as it is.
func (p *page) describe(text string) {
	p.write(".SH DESCRIPTION\n")
	literal, gap := false, false // gap: an empty line came last
	set := func(on bool) {
		if on == literal {
			return
		}
		if literal = on; on {
			p.write(".nf\n")
		} else {
			p.write(".fi\n")
		}
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		heading, isHeading := strings.CutSuffix(line, ":")
		code, isCode := strings.CutPrefix(line, "   ")
		if line == "" {
			gap = true
			continue
		}
		switch {
		case isHeading && heading == strings.ToUpper(heading):
			set(false)
			p.write(".SH %s\n", roff(heading))
			gap = false
			continue
		case gap && (!isCode || !literal):
			set(false)
			p.write(".PP\n")
		case gap:
			p.write("\n")
		}
		set(isCode)
		p.write("%s\n", roff(strings.TrimSpace(code)))
		gap = false
	}
	set(false)
}

// roff writes a text so that it is shown as it is.
func roff(text string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case r == '\'' && i > 0:
			b.WriteString(`\(aq`)
		case (r == '.' || r == '\'') && i == 0:
			b.WriteString(`\&` + string(r))
		case r == '"':
			b.WriteString(`\(dq`)
		case r == '^' || r == '~' || r == '`':
			b.WriteString(map[rune]string{'^': `\(ha`, '~': `\(ti`, '`': `\(ga`}[r])
		case r > 126:
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
