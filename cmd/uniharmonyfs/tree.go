package main

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/uniharmony/uniharmonyfs/internal/control"
)

// treePrinter writes files, which come in byte order of their paths, below
// their directories.
func treePrinter(out *bufio.Writer) func(control.File) error {
	var at []string
	return func(f control.File) error {
		dirs := strings.Split(f.Path, "/")
		name := dirs[len(dirs)-1]
		dirs = dirs[:len(dirs)-1]
		same := 0
		for same < len(dirs) && same < len(at) && dirs[same] == at[same] {
			same++
		}
		for i := same; i < len(dirs); i++ {
			fmt.Fprintf(out, "%s%s/\n", strings.Repeat("  ", i), printable(dirs[i]))
		}
		at = dirs
		state := ""
		if !f.Here() {
			state = "  (" + string(f.State) + ")"
		}
		_, err := fmt.Fprintf(out, "%s%s  %s%s\n", strings.Repeat("  ", len(dirs)), printable(name), size(f.Size), state)
		return err
	}
}
