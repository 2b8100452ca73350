package cachedir

import (
	"os"
	"strconv"
	"strings"
)

// MountBelow returns a mount point below dir, or "".
func MountBelow(dir string) (string, error) {
	points, err := MountPoints()
	for _, p := range points {
		if strings.HasPrefix(p, dir+"/") {
			return p, err
		}
	}
	return "", err
}

func MountPoints() ([]string, error) {
	info, err := os.ReadFile("/proc/self/mountinfo")
	var points []string
	for line := range strings.Lines(string(info)) {
		if f := strings.Fields(line); len(f) > 4 {
			points = append(points, unescape(f[4]))
		}
	}
	return points, err
}

// unescape decodes the octal escapes of mountinfo (proc_pid_mountinfo(5)).
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
