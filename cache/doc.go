// Package cache keeps verified content of git-annex keys on local disk, under
// a hard budget, and brings what is missing. Its one verb is [Cache.Open].
//
// Words: an object is a file with verified content of a key. A transfer brings
// a key from one dataset's sources into a partial file; a request is one
// question of it to a source. A waiter is a reader that waits for bytes.
//
// Invariants:
//
//   - An object is absent or right. Bytes come into a partial file while their
//     hash is taken; only when size and hash agree with the key is the file
//     renamed into objects, where it is never opened for writing again. What is
//     found there without the ledger vouching for the very file (after a crash,
//     or by others' hands) is hashed before its first byte is served.
//   - Who may touch the file under an object's name follows from the object's
//     phase, which changes in one place; see shelf.Phase.
//   - Every byte of a partial file has a provenance: whose sources sent it, and
//     whether the source names the exact version of the content. Before the
//     whole is verified, bytes are served only to readers of that dataset, only
//     those of exact sources, and never the last of them: nobody reads a wrong
//     file to its end, and no dataset can mislead another's readers, keep
//     content from them, or make them fail. Should the hash not agree, whoever
//     has read of it gets errors from then on, what is kept of it is revoked,
//     and the rest of that transfer serves nothing unverified.
//   - A failure has a class and a scope. Only a wrong size or hash on a
//     successful read, or that the file is not there, is evidence against an
//     object; a pinned one is set aside even then. A lack of resources fails
//     those who need what it was lacking for, and is not remembered. Of a
//     source's failures, outages are waited out as long as a reader has patience;
//     all others are final for a moment, for the dataset.
//   - No byte of a partial file is written twice, holes are never read, and
//     the map of what is there is written after the bytes. A map is believed
//     after a power cut only if the bytes were flushed before.
//   - That also holds after a power cut, without a flush for each file: the
//     ledger learns of an object only after its data was flushed, in groups,
//     in the background. An object that the ledger does not know is hashed
//     again, and so is one that the disk refused to take: as the disk has it,
//     since the kernel calls the next fsync a success (fsync(2)).
//   - The disk blocks of all files, and the reservations of running transfers,
//     together never exceed the budget. Room is made before bytes are asked
//     for: for a look at a header that of a window, for what is read on that of
//     the whole file, since the key tells the size. Open and pinned objects are
//     never evicted, and nothing is evicted in vain. What never fits as a whole
//     streams through a window.
//   - One transfer per key and dataset, and no byte asked for twice. It belongs
//     to the cache: a reader that leaves changes nothing for the others, the last
//     one that leaves ends it (unless most of the file is here: then it is
//     completed), and what has arrived is kept for the next.
//   - Pins are durable when Pin returns, in a file of their own.
//   - The disk is the truth, the ledger a hint that may be lost at any time.
//   - Nothing that can wait is done with the one lock held; a panic ends nothing
//     but what it happened in.
//
// On disk, below the cache's directory:
//
//	objects/f87/4d5/KEY/KEY   content, 0444, as in a bare git-annex repository
//	partial/NAME, NAME.map    parts of a content, and what they are; see package partial
//	partial/.placing/NAME     a file that git-annex or a local clone brings
//	aside/KEY                 damaged content that was pinned
//	pins, pins.bak, pins.room
package cache
