package main

import (
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
)

// optionalValue are flags that stand alone or take a value: after "=", or as
// the next word, if the command has all its arguments without that.
var optionalValue = []string{"derivatives"}

// arguments is how many arguments a command takes at most; of those that take
// any number a flag's optional value needs the "=".
var arguments = map[string]int{"list": 0, "mount": 1, "get": 1, "exec": 0}

// permute puts a command's flags before its arguments: urfave/cli stops
// reading flags at the first argument, people do not.
func permute(app *cli.App, args []string) ([]string, error) {
	if len(args) < 2 {
		return args, nil
	}
	at := slices.IndexFunc(args[1:], func(a string) bool { return !strings.HasPrefix(a, "-") }) + 1
	if at == 0 {
		return args, nil
	}
	cmd := app.Command(args[at])
	if cmd == nil {
		if args[at] == "help" || args[at] == "h" {
			return args, nil
		}
		if at > 1 {
			return args, usage("the flags go after the command", "for example: uniharmonyfs status "+strings.Join(args[1:at], " ")+" …")
		}
		return args, unknownCommand(app, args[at])
	}
	own, command := args[at+1:], []string(nil)
	if i := slices.Index(own, "--"); i >= 0 && cmd.Name == "exec" {
		own, command = own[:i], own[i+1:]
	}
	flags, rest, err := flagsFirst(cmd, own)
	if err != nil {
		return args, err
	}
	if cmd.Name == "exec" && (len(rest) > 0 || command == nil && !slices.ContainsFunc(flags, isHelp)) {
		return args, usage("exec runs what comes after --, and nothing else is for it to run", "for example: uniharmonyfs exec --sub 03286 -- ls -R {}")
	}
	rest = append(rest, command...)
	out := append(slices.Clone(args[:at+1]), flags...)
	if len(rest) > 0 {
		out = append(append(out, "--"), rest...)
	}
	return out, nil
}

// flagsFirst separates a command's flags, with their values, from its
// arguments.
func flagsFirst(cmd *cli.Command, args []string) (flags, rest []string, err error) {
	flag, value := -1, -1 // of the last flag that may take a value: its place in flags, and the value's in rest
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a == "--" {
			rest = append(rest, args[i+1:]...)
			break
		}
		if len(a) < 2 || a[0] != '-' {
			rest = append(rest, a)
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(a, "-"), "=")
		switch {
		case slices.Contains(optionalValue, name) && !hasValue:
			if i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
				flag, value = len(flags), len(rest)
			}
			a += "=" + all
		case !hasValue && takesValue(cmd, name):
			if i+1 == len(args) {
				return nil, nil, usage(fmt.Sprintf("the flag --%s needs a value", name))
			}
			flags = append(flags, a)
			i++
			a = args[i]
		}
		flags = append(flags, a)
	}
	if most, known := arguments[cmd.Name]; known && value >= 0 && len(rest) > most {
		flags[flag] = strings.TrimSuffix(flags[flag], all) + rest[value]
		rest = slices.Delete(rest, value, value+1)
	}
	return flags, rest, nil
}

func isHelp(arg string) bool { return arg == "--help" || arg == "-h" }

func takesValue(cmd *cli.Command, name string) bool {
	for _, f := range cmd.Flags {
		if slices.Contains(f.Names(), name) {
			_, isBool := f.(*cli.BoolFlag)
			return !isBool
		}
	}
	return false
}

func unknownCommand(app *cli.App, name string) error {
	var names []string
	for _, c := range app.VisibleCommands() {
		names = append(names, c.Name)
	}
	return usage(fmt.Sprintf("there is no command %q", name), cli.SuggestCommand(app.VisibleCommands(), name), "the commands are: "+strings.Join(names, ", "))
}

// callersUmask returns the umask that the command was called with: what is made
// for the user outside the cache has their modes. It can only be read by setting
// it.
func callersUmask() uint32 {
	umask := syscall.Umask(0o077)
	syscall.Umask(umask)
	return uint32(umask)
}
