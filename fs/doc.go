// Package fs shows a [tree.View] as a read-only FUSE file system.
//
// It translates and decides nothing: names, sizes and links come from the
// view, bytes from an [Opener]. It is written against go-fuse's raw protocol,
// because a node id can then be a place in the view's array: a million files
// need no memory here, and nothing has to be remembered between calls.
//
// Invariants:
//
//   - A node's id and inode number are its number in the tree plus one;
//     the root is 1. They survive remounts and do not depend on the selection.
//   - A view never changes, so the kernel may keep names, absences,
//     attributes, links and pages for ever.
//   - Only Read waits for content. A process that waits in open cannot be
//     killed, one that waits in read can.
//   - A read returns all the bytes asked for up to the end of the file, or an
//     error: never less, never a buffer that somebody still writes to.
//   - While a file is open, all its openings are served in one way, by the
//     kernel itself (passthrough) or through this process: the kernel answers
//     mixing with EIO. See [modes].
//   - Errors become numbers in one place, errno.go, and are logged there.
package fs
