// Package partial is what has come of a content that is not whole yet: a file
// with the bytes at their places, and beside it a map that says which bytes
// these are and who sent them.
//
// Invariants:
//
//   - The map lies in a file of its own. The file with the bytes holds nothing
//     else, so that it can become the object without being written once more,
//     and whoever is late in writing a map writes into no object.
//   - A byte is on the map only after it was written. Holes are never read.
//   - Every byte on the map has a provenance: the source that sent it, and
//     whether that names the exact version. The map belongs to one dataset: what
//     another dataset's sources sent lies in another file.
//   - A map is believed after a restart of the machine only if the bytes were
//     flushed before it was written.
//
// On disk, NAME being the SHA-256 of dataset and key:
//
//	partial/NAME      bytes
//	partial/NAME.map  a mark, the boot (or zeros: flushed), length, checksum,
//	                  then key, dataset, and the sources with their ranges
package partial
