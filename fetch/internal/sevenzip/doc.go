// Package sevenzip reads single members of a 7z archive that lies elsewhere, by
// asking for parts of it: its list of members once, and then of each member only
// the bytes that it was compressed to.
//
// It is our own since an archive is untrusted, and readers of the format that
// there are believe what it says of itself: a header of sixty bytes makes them
// take gigabytes. It reads what DataLad makes and people choose instead: members
// that are stored, or compressed with LZMA, LZMA2, Deflate or BZip2, in solid
// blocks too.
//
// Invariants:
//
//   - What an archive says of itself is checked against its size before anything is
//     done with it. Memory is bounded: by [maxHeader] for the list, and by
//     [maxDictionary] for the members that are being decompressed, all together.
//   - No more is decompressed than what was asked for and what lies before it in its
//     solid block, which is bounded too.
//   - No checksum of the archive is taken for the content's: whoever asks knows the
//     key.
//
// Format: https://py7zr.readthedocs.io/en/latest/archive_format.html
package sevenzip
