// Package tree holds the file list of one commit: a compact, immutable tree
// of numbered nodes ([Tree]), and the parts of it that are shown ([View]).
//
// Invariants:
//
//   - A node's number depends on the commit's content alone: 0 is the root,
//     then breadth first, names in byte order. It is the same in every
//     selection and after every remount, so it can serve as an inode number.
//   - Every name in a tree is safe to show as one path element: what is
//     not (see [Builder.AddDir]) never becomes a node, and nothing is left
//     out silently.
//   - [Tree] and [View] never change and may be used by any number of
//     goroutines. A [Builder] belongs to one.
//
// The package is pure: no I/O, no goroutines. A file costs 24 bytes and the
// binary digest of its key, 40 to 60 bytes, where names repeat as in BIDS; its
// name as well where they do not.
package tree
