// Package download brings the files of a selection into a directory of the
// user's: through the cache, or as a DataLad dataset of its own (direct mode).
//
// Invariants:
//
//   - A file has its name in the target only when it is whole, verified and on
//     the disk.
//   - Nothing is written through a symbolic link, or outside the target.
//   - What is there and differs is only replaced when the user said so.
//   - A download that was cut off goes on where it was, also after a kill.
package download
