// Package unpack brings single files out of archives that are at hand: tar, also
// compressed with gzip, bzip2 or xz, zip, and 7z.
//
// Invariants:
//
//   - An archive is known by what it begins with, not by its name. Names in it are
//     compared, and lead nowhere.
//   - No more is written than the size that the file is known to have.
//   - Memory is bounded, and so is what an archive may decompress to before the file
//     is found.
package unpack
