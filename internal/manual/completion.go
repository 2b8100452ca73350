package manual

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

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

func (f Flag) takesFile() bool { return slices.Contains(fileFlags, f.Names[0][2:]) }

// Completion returns the completion script of a shell: bash, zsh or fish.
func Completion(app *cli.App, shell string) (script string, ok bool) {
	write, ok := map[string]func([]*cli.Command) string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[shell]
	if !ok {
		return "", false
	}
	return write(documented(app)), true
}

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
			if values := choices[f.Names[0]]; values != nil && f.Value != "" {
				for _, name := range c.Names() {
					fmt.Fprintf(&b, "    %s:%s) words='%s' ;;\n", name, f.Names[0], strings.Join(values, " "))
				}
			} else if f.Value != "" {
				free = append(free, f.Names...)
			}
		}
		for _, name := range c.Names() {
			if len(free) > 0 {
				fmt.Fprintf(&b, "    %s:%s) return ;;\n", name, strings.Join(free, "|"+name+":"))
			}
		}
		flags := []string{}
		for _, f := range documentedFlags(c) {
			flags = append(flags, f.Names[0])
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
func zshFlag(f Flag, name string) string {
	equals := ""
	if f.Value != "" && len(name) > 2 {
		equals = "="
	}
	spec := "*" + name + equals + "[" + strings.NewReplacer("[", `\[`, "]", `\]`, ":", `\:`).Replace(f.Usage) + "]"
	switch values := choices[f.Names[0]]; {
	case f.Value == "":
	case values != nil:
		spec += ":" + f.Value + ":(" + strings.Join(values, " ") + ")"
	case f.takesFile():
		spec += ":" + f.Value + ":_files"
	default:
		spec += ":" + f.Value + ":"
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
			switch values := choices[f.Names[0]]; {
			case f.Value == "":
			case values != nil:
				fmt.Fprintf(&b, " -x -a %s", fishQuote(strings.Join(values, " ")))
			case f.takesFile():
				b.WriteString(" -r -F")
			default:
				b.WriteString(" -x")
			}
			fmt.Fprintf(&b, " -d %s\n", fishQuote(f.Usage))
		}
	}
	return b.String()
}

func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
