// Package index is what a cache knows between runs: tables of opaque values in
// one Badger database.
//
// Invariants:
//
//   - The index is a hint. Everything in it can be lost or damaged at any
//     moment without changing a byte, a name, or a pin: a commit is read from
//     git again, an object is hashed again. Opening therefore never fails on
//     the database's account: a damaged one is moved aside and rebuilt, and
//     when the disk is too full for one, it lives in memory.
//   - A value is the one that was saved under its key, or is not there: each
//     carries a checksum.
//   - Writes stop below a floor of free space, and on a full disk the database
//     is neither opened nor closed: Badger maps its files, and a page that the
//     disk cannot give ends the process with SIGBUS.
//
// The methods of [Index] and [Table] are safe for concurrent use.
package index
