// Package index is what a cache knows between runs: the snapshots of commits,
// read once from git, the ledger of objects, and facts of contents, kept in one
// Badger database.
//
// Invariants:
//
//   - The index is a hint. Everything in it can be lost or damaged at any
//     moment without changing a byte, a name, or a pin: a snapshot is read
//     from git again, an object is hashed again. Opening therefore never fails
//     on the database's account: a damaged one is moved aside and rebuilt, and
//     when the disk is too full for one, it lives in memory.
//   - A snapshot is complete or an error. Every directory's value carries a
//     checksum, and their number must agree with what was written; a missing
//     git object refuses the commit. Nothing is ever shown smaller.
//   - Writes stop below a floor of free space, and on a full disk the database
//     is neither opened nor closed: Badger maps its files, and a page that the
//     disk cannot give ends the process with SIGBUS.
//
// The methods of [Index] are safe for concurrent use.
package index
