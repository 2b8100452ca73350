// Package dataset knows the datasets of a cache: it opens one at a version,
// cloning it if need be, chooses files of it, says where their content comes
// from, and removes it.
//
// Invariants:
//
//   - One request at a time clones or removes a dataset; who waits for that can
//     leave.
//   - Whoever reads a dataset holds it. It is removed only when nobody does, and
//     who comes then clones it anew.
//   - What outlives requests and mounts does not keep a list of files in memory:
//     a million files take a hundred megabytes.
package dataset
