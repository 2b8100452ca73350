// Package fs shows a [tree.View] as a read-only FUSE file system, with others below
// it: a [Part] for each.
//
// It translates and decides nothing: names, sizes and links come from the
// view, bytes from an [Opener]. It is written against go-fuse's raw protocol,
// because a node id can then be a place in the view's array: a million files
// need no memory here, and nothing has to be remembered between calls.
//
// Invariants:
//
//   - A node's inode number is its number in the tree plus one, the root being 1, and
//     in a part below a border a number that follows from the border's path as well.
//     They survive remounts and do not depend on the selection.
//   - A view never changes, so the kernel may keep names, absences,
//     attributes, links and pages for ever.
//   - Only Read waits for content, and only the first look into a part for its names.
//     A process that waits in open cannot be killed, one that waits for these can.
//   - A read returns all the bytes asked for up to the end of the file, or an
//     error: never less, never a buffer that somebody still writes to.
//   - While a file is open, all its openings are served in one way, by the
//     kernel itself (passthrough) or through this process: the kernel answers
//     mixing with EIO. See [modes].
//   - Errors become numbers in one place, errno.go, and are logged there.
package fs
