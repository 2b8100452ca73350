package cachedir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
)

// Elsewhere is what to do where a cache cannot be.
const Elsewhere = "choose a directory that you can write to with --cache DIR, or UNIHARMONYFS_CACHE"

// Named returns the cache of a name beside the default one.
func Named(name string) (Dir, error) {
	base, err := userCaches()
	if err != nil {
		return "", advice.New(advice.Failed, "no place for the cache", err, "give one with --cache DIR, or UNIHARMONYFS_CACHE")
	}
	return Dir(filepath.Join(base, name)), nil
}

// userCaches is where the user's programs keep what they can make again.
func userCaches() (string, error) {
	if base := os.Getenv("XDG_CACHE_HOME"); base != "" {
		if !filepath.IsAbs(base) {
			return "", fmt.Errorf("XDG_CACHE_HOME is %s, which is not an absolute path", base)
		}
		return base, nil
	}
	home, err := home()
	if err != nil {
		return "", err
	}
	// Nobody's home is made for a cache.
	if _, err := os.Stat(home); err != nil {
		return "", fmt.Errorf("the home directory cannot be used: %w", err)
	}
	return filepath.Join(home, ".cache"), nil
}

// home is what HOME says or, where that says nothing, as in containers and services, the
// list of users.
func home() (string, error) {
	said := os.Getenv("HOME")
	switch {
	case said == "" || said == "/":
	case !filepath.IsAbs(said):
		return "", fmt.Errorf("HOME is %s, which is not an absolute path", said)
	default:
		return said, nil
	}
	why := "HOME is not set"
	if said != "" {
		why = "HOME is " + said
	}
	id := userID()
	listed := ""
	if u, err := user.LookupId(id); err == nil {
		listed = u.HomeDir
	} else {
		listed = askedFor(id)
	}
	if !filepath.IsAbs(listed) || listed == "/" {
		return "", errors.New(why + ", and the list of users has no home directory for user " + id)
	}
	return listed, nil
}

func userID() string { return strconv.Itoa(os.Geteuid()) }

// askedFor is the home directory of a user whom only the system's own program finds, as
// those of a whole site: a program without the C library reads /etc/passwd and no more.
func askedFor(id string) (home string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "getent", "passwd", id).Output()
	if fields := strings.Split(strings.TrimSpace(string(out)), ":"); err == nil && len(fields) == 7 {
		return fields[5]
	}
	return ""
}
