package upper

import (
	"bytes"
	"encoding/json"
	"errors"

	"golang.org/x/sys/unix"
)

// unfit are file systems that nothing can be written over a view on: the kernel and
// fuse-overlayfs need marks and renames there that are theirs alone. By their numbers in
// linux/magic.h.
var unfit = map[int64]string{
	unix.NFS_SUPER_MAGIC:     "NFS",
	unix.FUSE_SUPER_MAGIC:    "FUSE",
	unix.SMB_SUPER_MAGIC:     "SMB",
	unix.SMB2_SUPER_MAGIC:    "SMB",
	unix.CIFS_SUPER_MAGIC:    "SMB",
	unix.V9FS_MAGIC:          "9p",
	unix.AFS_FS_MAGIC:        "AFS",
	unix.AFS_SUPER_MAGIC:     "AFS",
	unix.CODA_SUPER_MAGIC:    "Coda",
	unix.MSDOS_SUPER_MAGIC:   "FAT",
	unix.EXFAT_SUPER_MAGIC:   "exFAT",
	unix.PROC_SUPER_MAGIC:    "proc",
	unix.SYSFS_MAGIC:         "sysfs",
	unix.CGROUP_SUPER_MAGIC:  "cgroup",
	unix.CGROUP2_SUPER_MAGIC: "cgroup",
}

const aLocalDisk = "choose a directory on a local disk, for example in $TMPDIR, and copy from its " + filesName + " what is to be kept"

// checkFileSystem refuses a directory on a file system that cannot be written to over a
// view.
func checkFileSystem(path string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return refuse(path, err)
	}
	if err := fits(st); err != nil {
		return refuse(path, err, aLocalDisk)
	}
	const mark = "user.uniharmonyfs"
	err := unix.Setxattr(path, mark, []byte("y"), 0)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return refuse(path, errors.New("its file system has no extended attributes of users"), aLocalDisk)
	case err != nil:
		return refuse(path, err, "choose a directory that you can write to")
	}
	return unix.Removexattr(path, mark)
}

func fits(st unix.Statfs_t) error {
	if name := unfit[int64(uint32(st.Type))]; name != "" {
		return errors.New("it lies on " + name + ", where what is deleted and replaced cannot be noted")
	}
	return nil
}

func compact(text json.RawMessage) (json.RawMessage, error) {
	var flat bytes.Buffer
	err := json.Compact(&flat, text)
	return flat.Bytes(), err
}
