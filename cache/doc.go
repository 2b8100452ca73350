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
//   - Before that, bytes are served only as they came from a source that names
//     the exact version of the content, and never the last of them: nobody
//     reads a wrong file to its end. Should the hash not agree, who has read
//     of it gets errors from then on and is told to forget what it keeps, and
//     the rest of that transfer serves nothing unverified. So a handle is bound
//     to the part that it was served from, and nobody reads while wrong bytes
//     are being recalled.
//   - No byte of a partial file is written twice, holes are never read, and
//     the map of what is there is written after the bytes. A map is believed
//     after a power cut only if the bytes were flushed before.
//   - That also holds after a power cut, without a flush for each file: the
//     ledger learns of an object only after its data was flushed, in groups,
//     in the background. An object that the ledger does not know is hashed
//     again.
//   - The disk blocks of objects and partial files, and the reservations of
//     running transfers, together never exceed the budget. Room is made before
//     bytes are asked for: for a look at a header that of a window, for what
//     is read on that of the whole file, since the key tells the size. Open and
//     pinned objects are never evicted, and nothing is evicted in vain.
//   - One transfer per key, and no byte asked for twice. It belongs to the
//     cache: a reader that leaves changes nothing for the others, the last one
//     that leaves ends it (unless most of the file is here: then it is
//     completed), and what has arrived is kept for the next.
//   - Pins are durable when Pin returns, in a file of their own.
//   - The disk is the truth, the ledger a hint that may be lost at any time.
//
// On disk, below the cache's directory:
//
//	objects/f87/4d5/KEY/KEY   content, 0444, as in a bare git-annex repository
//	partial/KEY               parts of a content, and behind its end their map
//	partial/.placing/KEY      a file that git-annex or a local clone brings
//	pins, pins.bak
package cache
