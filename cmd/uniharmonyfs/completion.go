package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// oldCompletion is what completion scripts of the first versions append to the
// words of a command line. After a "--" it was an argument like others, and the
// command ran.
const oldCompletion = "--generate-bash-completion"

// choices are the values of flags that take one of a few, and of arguments.
var choices = map[string][]string{
	"--companions":   {"full", "required", "none"},
	"--fetcher":      {"auto", "native", "annex"},
	"--intended-for": {"prune", "keep"},
	"--verify":       {"auto", "strict"},
	"completion":     {"bash", "zsh", "fish"},
}

// fileFlags are the flags whose value is a file or a directory.
var fileFlags = []string{"bids-filter-file", "cache", "dataset", "keep"}

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
			write, ok := map[string]func([]*cli.Command) string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Args().First()]
			if !ok {
				return usage("completion takes the name of a shell: bash, zsh or fish")
			}
			_, err := fmt.Fprint(c.App.Writer, write(documented(c.App)))
			return err
		},
	}
}

// documented returns the commands that are for people.
func documented(app *cli.App) []*cli.Command {
	return slices.DeleteFunc(app.VisibleCommands(), func(c *cli.Command) bool { return c.Name == "help" })
}

// A flagDoc is a flag as documents and completion scripts show it.
type flagDoc struct {
	names []string // with their dashes, the first one is the flag's own
	value string   // its name; empty where the flag takes none
	usage string
}

// documentedFlags returns a command's flags, also those that every command has.
func documentedFlags(cmd *cli.Command) (docs []flagDoc) {
	for _, f := range cmd.Flags {
		if f.Names()[0] != "help" && !isHidden(f) {
			docs = append(docs, documentFlag(f))
		}
	}
	return append(docs, documentFlag(cli.HelpFlag), flagDoc{names: []string{"--help-all"}, usage: "show all flags"})
}

// short returns the flag's own name and, where there is one, its letter.
func (f flagDoc) short() []string {
	return slices.DeleteFunc(slices.Clone(f.names), func(n string) bool { return n != f.names[0] && len(n) > 2 })
}

func (f flagDoc) takesFile() bool { return slices.Contains(fileFlags, f.names[0][2:]) }

func bashCompletion(commands []*cli.Command) string {
	var b strings.Builder
	b.WriteString(`# bash completion of uniharmonyfs. It never runs the program.
_uniharmonyfs() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= words= i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      --) return ;;
      -*) ;;
      *) [ -n "$command" ] || command=${COMP_WORDS[i]} ;;
    esac
  done
  # "--flag=value" comes as three words.
  if [ "$cur" = "=" ]; then
    cur=
  elif [ "$prev" = "=" ]; then
    prev=${COMP_WORDS[COMP_CWORD-2]}
  fi
  case $command:$prev in
`)
	var names []string
	for _, c := range commands {
		names = append(names, c.Name)
		all := strings.Join(c.Names(), "|")
		if values := choices[c.Name]; values != nil {
			fmt.Fprintf(&b, "    %s:%s) words='%s' ;;\n", c.Name, c.Name, strings.Join(values, " "))
		}
		var free []string
		for _, f := range documentedFlags(c) {
			if values := choices[f.names[0]]; values != nil && f.value != "" {
				for _, name := range c.Names() {
					fmt.Fprintf(&b, "    %s:%s) words='%s' ;;\n", name, f.names[0], strings.Join(values, " "))
				}
			} else if f.value != "" {
				free = append(free, f.names...)
			}
		}
		for _, name := range c.Names() {
			if len(free) > 0 {
				fmt.Fprintf(&b, "    %s:%s) return ;;\n", name, strings.Join(free, "|"+name+":"))
			}
		}
		flags := []string{}
		for _, f := range documentedFlags(c) {
			flags = append(flags, f.names[0])
		}
		fmt.Fprintf(&b, "    %s:*) [[ $cur != -* ]] || words='%s' ;;\n", strings.ReplaceAll(all, "|", ":*|"), strings.Join(flags, " "))
	}
	fmt.Fprintf(&b, "    :*) words='%s help --help' ;;\n", strings.Join(names, " "))
	b.WriteString(`  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -o default -F _uniharmonyfs uniharmonyfs
`)
	return b.String()
}

func zshCompletion(commands []*cli.Command) string {
	var b strings.Builder
	b.WriteString(`#compdef uniharmonyfs
# zsh completion of uniharmonyfs. It never runs the program.
_uniharmonyfs() {
  local curcontext=$curcontext state line
  local -a commands
  commands=(
`)
	for _, c := range commands {
		fmt.Fprintf(&b, "    %s\n", zshQuote(c.Name+":"+c.Usage))
	}
	b.WriteString(`  )
  _arguments -C -S '(-h --help)'{-h,--help}'[show help]' '1: :->command' '*:: :->arguments'
  case $state in
    command) _describe -t commands command commands ;;
    arguments)
      case $words[1] in
`)
	for _, c := range commands {
		fmt.Fprintf(&b, "        %s)\n          _arguments -S", strings.Join(c.Names(), "|"))
		for _, f := range documentedFlags(c) {
			for _, name := range f.short() {
				fmt.Fprintf(&b, " \\\n            %s", zshQuote(zshFlag(f, name)))
			}
		}
		arguments := "*:file:_files"
		if values := choices[c.Name]; values != nil {
			arguments = "1: :(" + strings.Join(values, " ") + ")"
		}
		fmt.Fprintf(&b, " \\\n            %s\n          ;;\n", zshQuote(arguments))
	}
	b.WriteString(`      esac
      ;;
  esac
}
if [ "$funcstack[1]" = _uniharmonyfs ]; then
  _uniharmonyfs "$@"
else
  compdef _uniharmonyfs uniharmonyfs
fi
`)
	return b.String()
}

// zshFlag is a flag in the language of zsh's _arguments.
func zshFlag(f flagDoc, name string) string {
	equals := ""
	if f.value != "" && len(name) > 2 {
		equals = "="
	}
	spec := "*" + name + equals + "[" + strings.NewReplacer("[", `\[`, "]", `\]`, ":", `\:`).Replace(f.usage) + "]"
	switch values := choices[f.names[0]]; {
	case f.value == "":
	case values != nil:
		spec += ":" + f.value + ":(" + strings.Join(values, " ") + ")"
	case f.takesFile():
		spec += ":" + f.value + ":_files"
	default:
		spec += ":" + f.value + ":"
	}
	return spec
}

func zshQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func fishCompletion(commands []*cli.Command) string {
	var b strings.Builder
	b.WriteString(`# fish completion of uniharmonyfs. It never runs the program.
function __uniharmonyfs_command --description 'whether the command is one of these, or there is none yet'
    for word in (commandline -opc)[2..]
        if not string match -q -- '-*' $word
            contains -- $word $argv
            return
        end
    end
    test (count $argv) -eq 0
end
complete -c uniharmonyfs -n __uniharmonyfs_command -f -s h -l help -d 'show help'
`)
	for _, c := range commands {
		fmt.Fprintf(&b, "complete -c uniharmonyfs -n __uniharmonyfs_command -f -a %s -d %s\n", c.Name, fishQuote(c.Usage))
		when := fishQuote("__uniharmonyfs_command " + strings.Join(c.Names(), " "))
		if values := choices[c.Name]; values != nil {
			fmt.Fprintf(&b, "complete -c uniharmonyfs -n %s -f -a %s\n", when, fishQuote(strings.Join(values, " ")))
		}
		for _, f := range documentedFlags(c) {
			fmt.Fprintf(&b, "complete -c uniharmonyfs -n %s", when)
			for _, name := range f.short() {
				if len(name) == 2 {
					fmt.Fprintf(&b, " -s %s", name[1:])
				} else {
					fmt.Fprintf(&b, " -l %s", name[2:])
				}
			}
			switch values := choices[f.names[0]]; {
			case f.value == "":
			case values != nil:
				fmt.Fprintf(&b, " -x -a %s", fishQuote(strings.Join(values, " ")))
			case f.takesFile():
				b.WriteString(" -r -F")
			default:
				b.WriteString(" -x")
			}
			fmt.Fprintf(&b, " -d %s\n", fishQuote(f.usage))
		}
	}
	return b.String()
}

func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
