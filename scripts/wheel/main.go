// Wheel makes a Python wheel of the package in python/ that brings the program:
// pip puts it beside Python's own. The same input gives the same bytes. A
// program that is not a static one of the wheel's machine is refused, since the
// wheel says that it runs on any Linux.
package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"
)

// A machine is one that programs are built for.
type machine struct {
	elf  elf.Machine
	name string // as Python calls it
}

var machines = map[string]machine{
	"amd64": {elf.EM_X86_64, "x86_64"},
	"arm64": {elf.EM_AARCH64, "aarch64"},
}

// options are what a wheel is made of.
type options struct {
	version, arch           string
	program, share, license string // paths
	source                  string // directory of pyproject.toml
	out                     string // directory
}

func main() {
	var o options
	flag.StringVar(&o.version, "version", "", "version of the package")
	flag.StringVar(&o.arch, "arch", "", "amd64 or arm64")
	flag.StringVar(&o.program, "program", "", "the program")
	flag.StringVar(&o.share, "share", "", "directory of man pages and completions")
	flag.StringVar(&o.license, "license", "", "file with the licence")
	flag.StringVar(&o.source, "source", "", "directory of pyproject.toml")
	flag.StringVar(&o.out, "out", "", "directory for the wheel")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "wheel:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	m, known := machines[o.arch]
	if !known {
		return fmt.Errorf("%q is no machine that wheels are made for", o.arch)
	}
	program, err := os.ReadFile(o.program)
	if err != nil {
		return err
	}
	if err := checkStatic(program, m.elf); err != nil {
		return fmt.Errorf("%s: %w", o.program, err)
	}
	p, err := readProject(o.source)
	if err != nil {
		return err
	}
	license, err := os.ReadFile(o.license)
	if err != nil {
		return err
	}
	base := p.Name + "-" + o.version
	info := base + ".dist-info/"
	a := newArchive(info + "RECORD")
	src := filepath.Join(o.source, "src")
	err = a.tree(src, "", func(path string) bool { return strings.HasSuffix(path, ".py") || filepath.Base(path) == "py.typed" })
	if err != nil {
		return err
	}
	a.file(base+".data/scripts/"+p.Name, 0o755, program)
	if err := a.tree(o.share, base+".data/data/share/", func(string) bool { return true }); err != nil {
		return err
	}
	// The names of the platforms are those of the file, in one.
	platforms := []string{"manylinux_2_17_" + m.name, "manylinux2014_" + m.name, "musllinux_1_1_" + m.name}
	a.file(info+"METADATA", 0o644, p.metadata(o.version))
	a.file(info+"WHEEL", 0o644, wheelFile(platforms))
	a.file(info+"licenses/LICENSE", 0o644, license)
	data, err := a.close()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.out, fmt.Sprintf("%s-py3-none-%s.whl", base, strings.Join(platforms, "."))), data, 0o644)
}

// checkStatic refuses what needs a dynamic linker or another machine.
func checkStatic(program []byte, want elf.Machine) error {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return err
	}
	if f.Machine != want {
		return fmt.Errorf("it is for %v, not %v", f.Machine, want)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			return errors.New("it is not static")
		}
	}
	return nil
}

// project is what pyproject.toml says of the package.
type project struct {
	Name           string
	Description    string
	Readme         string
	RequiresPython string `toml:"requires-python"`
	License        string
	Classifiers    []string
	Dynamic        []string
	Dependencies   []string
	Version        string

	text []byte // of the readme
}

func readProject(dir string) (project, error) {
	var all struct{ Project project }
	if _, err := toml.DecodeFile(filepath.Join(dir, "pyproject.toml"), &all); err != nil {
		return project{}, err
	}
	p := all.Project
	if len(p.Dependencies) > 0 || p.Version != "" {
		return p, errors.New("pyproject.toml says something that the wheel would not: dependencies or a version")
	}
	var err error
	p.text, err = os.ReadFile(filepath.Join(dir, p.Readme))
	return p, err
}

func (p project) metadata(version string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Metadata-Version: 2.4\nName: %s\nVersion: %s\nSummary: %s\n", p.Name, version, p.Description)
	for _, c := range p.Classifiers {
		fmt.Fprintf(&b, "Classifier: %s\n", c)
	}
	fmt.Fprintf(&b, "Requires-Python: %s\nLicense-Expression: %s\nLicense-File: LICENSE\n", p.RequiresPython, p.License)
	fmt.Fprintf(&b, "Description-Content-Type: text/markdown\n\n%s", p.text)
	return b.Bytes()
}

func wheelFile(platforms []string) []byte {
	var b bytes.Buffer
	b.WriteString("Wheel-Version: 1.0\nGenerator: uniharmonyfs scripts/wheel\nRoot-Is-Purelib: false\n")
	for _, p := range platforms {
		fmt.Fprintf(&b, "Tag: py3-none-%s\n", p)
	}
	return b.Bytes()
}

// regular lists the regular files below a directory in byte order of their paths.
func regular(dir string) (paths []string, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			paths = append(paths, path)
		}
		return err
	})
	return paths, err
}
