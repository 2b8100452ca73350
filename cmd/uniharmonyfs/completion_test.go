package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// completions are lines as they are typed before a TAB, and after it. After "--"
// there are only arguments.
var completions = []struct{ typed, then string }{
	{"uniharmonyfs mo", "uniharmonyfs mount"},
	{"uniharmonyfs unm", "uniharmonyfs unmount"},
	{"uniharmonyfs mount --compan", "uniharmonyfs mount --companions"},
	{"uniharmonyfs mount --sub 01 --patie", "uniharmonyfs mount --sub 01 --patience"},
	{"uniharmonyfs ls --companions n", "uniharmonyfs ls --companions none"},
	{"uniharmonyfs list --companions=n", "uniharmonyfs list --companions=none"},
	{"uniharmonyfs list --json --help-a", "uniharmonyfs list --json --help-all"},
	{"uniharmonyfs completion z", "uniharmonyfs completion zsh"},
	{"uniharmonyfs mount afi", "uniharmonyfs mount afile"},
	{"uniharmonyfs mount -- afi", "uniharmonyfs mount -- afile"},
	{"uniharmonyfs unmount --clean -- --for", "uniharmonyfs unmount --clean -- --for"},
	{"uniharmonyfs demo -- --js", "uniharmonyfs demo -- --js"},
	{"uniharmonyfs clean --all -- ds", "uniharmonyfs clean --all -- ds"},
}

// completing has a shell's completion script, a stand-in for the program that
// notes when it runs, and a directory with one file.
func completing(t *testing.T, shell string) (dir, script string, env []string) {
	t.Helper()
	if _, err := exec.LookPath(shell); err != nil {
		t.Skip("skipped: ", err)
	}
	dir, err := os.MkdirTemp(base, "t-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	out, err := exec.CommandContext(t.Context(), binary, "completion", shell).Output()
	if err != nil {
		t.Fatal(err)
	}
	script = filepath.Join(dir, "completion")
	ran := filepath.Join(dir, "ran")
	write(t, script, string(out))
	write(t, filepath.Join(dir, "bin", "uniharmonyfs"), "#!/bin/sh\necho \"$@\" >>"+ran+"\n")
	if err := os.Chmod(filepath.Join(dir, "bin", "uniharmonyfs"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "here", "afile"), "")
	t.Cleanup(func() {
		if args, err := os.ReadFile(ran); err == nil {
			t.Errorf("completing ran the program with %s", args)
		}
	})
	return dir, script, append(os.Environ(), "HOME="+dir, "ZDOTDIR="+dir, "XDG_CONFIG_HOME=", "TERM=dumb", "PATH="+dir+"/bin:"+os.Getenv("PATH"))
}

// typeAll types each line and a TAB in a shell on a terminal, and has the shell
// say what it holds then: ^O is bound to write that into the file dump.
func typeAll(t *testing.T, cmd *exec.Cmd, dump string) {
	t.Helper()
	keyboard, screen := terminal(t)
	cmd.Dir = filepath.Join(filepath.Dir(dump), "here")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = screen, screen, screen
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	screen.Close()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	go func() { // a full terminal would have the shell wait
		buf := make([]byte, 4096)
		for {
			if _, err := keyboard.Read(buf); err != nil {
				return
			}
		}
	}()
	press := func(keys string) {
		if _, err := keyboard.WriteString(keys); err != nil {
			t.Fatal(err)
		}
	}
	// Until it reads keys by itself, the terminal may swallow them.
	eventually(t, "the shell reads keys", func() bool {
		press("\x0f")
		time.Sleep(100 * time.Millisecond)
		_, err := os.Stat(dump)
		return err == nil
	})
	// What was pressed too often is done when this line is there.
	line := func(keys string, done func(string) bool) (got string) {
		press("\x15" + keys + "\x0f")
		eventually(t, fmt.Sprintf("%q is completed", keys), func() bool {
			data, _ := os.ReadFile(dump)
			got = strings.TrimRight(string(data), " =\n")
			return done(got)
		})
		os.Remove(dump)
		return got
	}
	line("echo ready", func(got string) bool { return got == "echo ready" })
	for _, c := range completions {
		got := line(c.typed+"\t", func(got string) bool { return got != "" })
		if got != c.then {
			t.Errorf("%q becomes %q, want %q", c.typed, got, c.then)
		}
	}
}

func TestBashCompletionRunsNothing(t *testing.T) {
	t.Parallel()
	dir, script, env := completing(t, "bash")
	rc, dump := filepath.Join(dir, "rc"), filepath.Join(dir, "dump")
	write(t, rc, fmt.Sprintf(`source %s
dump() { printf '%%s\n' "$READLINE_LINE" >%s.new; mv %[2]s.new %[2]s; }
bind -x '"\C-o": dump'
`, script, dump))
	cmd := exec.CommandContext(t.Context(), "bash", "--noprofile", "--rcfile", rc, "-i")
	cmd.Env = env
	typeAll(t, cmd, dump)
}

func TestZshCompletionRunsNothing(t *testing.T) {
	t.Parallel()
	for how, load := range map[string]string{
		"sourced":   "autoload -Uz compinit; compinit -u -D; source %[1]s",
		"installed": "mkdir %[1]s.d; ln -s %[1]s %[1]s.d/_uniharmonyfs; fpath=(%[1]s.d $fpath); autoload -Uz compinit; compinit -u -D",
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			dir, script, env := completing(t, "zsh")
			dump := filepath.Join(dir, "dump")
			write(t, filepath.Join(dir, ".zshrc"), fmt.Sprintf(load+`
dump() { print -r -- "$BUFFER" >%[2]s.new; mv %[2]s.new %[2]s; }
zle -N dump
bindkey -e
bindkey '^O' dump
`, script, dump))
			cmd := exec.CommandContext(t.Context(), "zsh", "-d", "-i")
			cmd.Env = env
			typeAll(t, cmd, dump)
		})
	}
}

func TestFishCompletionRunsNothing(t *testing.T) {
	t.Parallel()
	dir, script, env := completing(t, "fish")
	for _, c := range completions {
		cmd := exec.CommandContext(t.Context(), "fish", "--no-config", "-c", "source $argv[1]; complete -C $argv[2]", script, c.typed)
		cmd.Env, cmd.Dir = env, filepath.Join(dir, "here")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		var offered []string
		for line := range strings.Lines(string(out)) {
			word, _, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
			offered = append(offered, word)
		}
		want := c.then[strings.LastIndex(c.then, " ")+1:]
		if c.then == c.typed {
			want = ""
		}
		if got := strings.Join(offered, " "); got != want {
			t.Errorf("%q offers %q, want %q", c.typed, got, want)
		}
	}
}

// The completion scripts of the first versions ask the program itself, by a word
// at the end of the line: no command runs then, wherever it stands.
func TestOldCompletionScriptsRunNothing(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	for _, args := range [][]string{{"demo", "--"}, {"mount", "--"}, {"mount", "--json", "--"}, {"status"}, {}} {
		r := u.run(append(args, "--generate-bash-completion")...)
		if r.code != 0 || r.out != "" || r.errout != "" {
			t.Errorf("%v: exit %d, %s%s", args, r.code, r.out, r.errout)
		}
	}
	if left, err := os.ReadDir(u.dir); err != nil || len(left) > 0 {
		t.Errorf("%v is there: %v", left, err)
	}
}
