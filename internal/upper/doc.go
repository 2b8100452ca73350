// Package upper keeps what is written over a view.
//
// An upper directory has three things in it: files, where whatever was written lies at its
// path in the view; .work, which the kernel needs; and view.json, which says over what.
//
// Invariants:
//
//   - The view below, the cache and the dataset are never written to.
//   - One command at a time writes through an upper directory, and only over views of one
//     commit: names mean the same things below then.
//   - A directory that holds anything else is never taken for one.
//   - Where the kernel's overlayfs does not do, fuse-overlayfs does. The two note what was
//     deleted differently, so a directory stays with the one that it began with.
package upper
