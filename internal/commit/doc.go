// Package commit lists a commit's files, as they can be shown: read from git,
// links followed, and kept in a table of the index.
//
// Invariants:
//
//   - A listing is complete or an error. A missing git object refuses the
//     commit; of what was kept, each directory carries a checksum, and their
//     number must agree with what was written. Nothing is ever shown smaller.
//   - Names that could do harm refuse the commit, and it has bounds: a few
//     objects of git can stand for any number of paths.
//   - A link leads to a file or directory of the commit, without leaving it on
//     the way, or it is hidden.
package commit
