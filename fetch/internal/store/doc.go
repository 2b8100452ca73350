// Package store reads keys where a git-annex repository keeps them for others: in a
// directory of objects, or in an archive beside it, over HTTP or on this machine. RIA
// stores are such places, and so are siblings and what type=httpalso leads to.
//
// Invariants:
//
//   - What an object's path names is the key, but nothing holds the bytes there to
//     it: none of the sources is exact.
//   - Where a store has keys is learned from what was found: the next key is looked
//     for in the same way first.
//   - Bytes of two ways are never mixed.
//
// Layout of RIA stores: https://docs.datalad.org/en/stable/design/ria.html
package store
