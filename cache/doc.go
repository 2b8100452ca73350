// Package cache keeps verified content of git-annex keys on local disk, under
// a hard budget, and brings what is missing. Its one verb is [Cache.Open].
//
// Invariants:
//
//   - An object is absent or right. Bytes come into a partial file while their
//     hash is taken; only when size and hash agree with the key is the file
//     renamed into objects, where it never changes again. What is found under
//     objects without the ledger knowing it (after a crash, or by others'
//     hands) is hashed before its first byte is served.
//   - That also holds after a power cut, without a flush for each file: the
//     ledger learns of an object only after its data was flushed, in groups,
//     in the background. An object that the ledger does not know is hashed
//     again.
//   - The disk blocks of objects and partial files, and the reservations of
//     running transfers, together never exceed the budget. Room is made before
//     a transfer starts: the key tells the size. Open and pinned objects are
//     never evicted, and nothing is evicted in vain.
//   - One transfer per key. It belongs to the cache: a reader that leaves
//     changes nothing for the others, the last one that leaves ends it, and
//     what has arrived is kept for the next.
//   - Pins are durable when Pin returns, in a file of their own.
//   - The disk is the truth, the ledger a hint that may be lost at any time.
//
// On disk, below the cache's directory:
//
//	objects/f87/4d5/KEY/KEY   content, 0444, as in a bare git-annex repository
//	partial/KEY               the first bytes of a content
//	partial/.placing/KEY      a file that git-annex or a local clone brings
//	pins, pins.bak
package cache
