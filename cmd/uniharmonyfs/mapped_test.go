package main_test

import (
	"fmt"
	"os/exec"
	"strings"
)

// mapper maps a file and writes what it is asked for: offset and length in a
// line. It is a process of its own: who waits for a page of a mapping keeps a
// processor of the Go runtime, and the server of the content may need that one.
const mapper = `
import mmap, sys
with open(sys.argv[1], "rb") as f:
    m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
    for line in sys.stdin:
        at, n = map(int, line.split())
        m.madvise(mmap.MADV_DONTNEED)
        sys.stdout.buffer.write(m[at:at + n])
        sys.stdout.flush()
`

// mapping returns pieces of a file's mapping, one after the other.
func mapping(path string, pieces ...[2]int) ([]byte, error) {
	var asked strings.Builder
	for _, p := range pieces {
		fmt.Fprintln(&asked, p[0], p[1])
	}
	cmd := exec.Command("python3", "-c", mapper, path)
	cmd.Stdin = strings.NewReader(asked.String())
	return cmd.Output()
}

// changedInPlace returns a file as a private mapping of it shows it when its
// first byte was inverted there.
func changedInPlace(path string) ([]byte, error) {
	return exec.Command("python3", "-c", `
import mmap, sys
with open(sys.argv[1], "rb") as f:
    m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY)
    m[0] ^= 255
    sys.stdout.buffer.write(m)
`, path).Output()
}
