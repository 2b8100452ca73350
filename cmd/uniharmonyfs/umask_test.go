package main_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/demo"
)

// Whatever umask the first command has, what the daemon and the programs that
// it runs make in the cache is their owner's alone.
func TestCacheIsPrivateWhateverTheUmask(t *testing.T) {
	t.Parallel()
	for _, umask := range []string{"000", "077"} {
		t.Run(umask, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			_, m := serve(t, u, demo.Dataset())
			mnt := u.path("above/mnt")
			cmd := u.command(t.Context())
			cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", "umask " + umask + "; exec \"$@\"", "sh", binary, "mount", "--dataset", m.Dir, "--sub", "01", mnt}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			// What is made outside the cache has the user's modes.
			want := map[string]fs.FileMode{"000": 0o777, "077": 0o700}[umask]
			if st, err := os.Stat(u.path("above")); err != nil || st.Mode().Perm() != want {
				t.Errorf("the directory above the mount is %v, %v", st.Mode(), err)
			}
			image := filepath.Join(mnt, "sub-01/ses-01/anat/sub-01_ses-01_T1w.nii.gz")
			u.must("pin", image)
			u.must("prefetch", mnt)
			seen := 0
			check := func(path string, e fs.DirEntry, err error) error {
				st, statErr := os.Lstat(path)
				if os.IsNotExist(err) || os.IsNotExist(statErr) {
					return nil // a file of a moment
				} else if err != nil {
					t.Fatal(err)
				}
				seen++
				if strings.HasPrefix(path, u.cache+"/objects/") && st.Mode() == 0o444 {
					return nil // a download may share it; its directories are closed
				}
				if mode := st.Mode(); mode&fs.ModeSymlink == 0 && mode.Perm()&0o077 != 0 {
					t.Errorf("%s is %v", strings.TrimPrefix(path, u.cache), mode)
				}
				return nil
			}
			filepath.WalkDir(u.cache, check)
			u.must("unmount", mnt)
			u.leaveDaemon() // what it writes at its end, too
			filepath.WalkDir(u.cache, check)
			if seen < 50 {
				t.Errorf("only %d files were looked at", seen)
			}
		})
	}
}
