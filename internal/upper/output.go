package upper

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
)

// Given are the values of a flag, each as it was given: paths may have commas.
type Given []string

// Set implements flag.Value.
func (g *Given) Set(value string) error {
	*g = append(*g, value)
	return nil
}

// String implements flag.Value.
func (g *Given) String() string { return strings.Join(*g, " ") }

// Outputs reads NAME=DIR, and makes a DIR that is missing. Errors are of the kind [advice.Usage], or, where a DIR cannot
// be written to or lies in a place, [advice.CannotMount].
func Outputs(given Given, apart ...Place) (outputs []Output, err error) {
	for _, g := range given {
		name, dir, ok := strings.Cut(g, "=")
		if !ok || dir == "" || name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			return nil, advice.New(advice.Usage, "--output "+g+" is not NAME=DIR", errors.New("NAME is a plain name, of a directory in derivatives"), "for example: --output fmriprep=/home/you/out")
		}
		if slices.ContainsFunc(outputs, func(o Output) bool { return o.Name == name }) {
			return nil, advice.New(advice.Usage, "--output "+name+" is given twice", nil)
		}
		if dir, err = outputDir(dir, apart); err != nil {
			return nil, err
		}
		outputs = append(outputs, Output{Name: name, Dir: dir})
	}
	return outputs, nil
}

func outputDir(given string, apart []Place) (string, error) {
	dir, err := filepath.Abs(given)
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", refuse(dir, err, "choose a directory that you can write to")
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", refuse(given, err)
	}
	if st, err := os.Stat(dir); err == nil && !st.IsDir() {
		return "", refuse(dir, errors.New("it is not a directory"))
	}
	for _, p := range apart {
		if real, err := filepath.EvalSymlinks(p.Path); err == nil && cachedir.Within(dir, real) {
			return "", inside(dir, p, real)
		}
	}
	return dir, nil
}
