// Package bids knows the names of the Brain Imaging Data Structure: it parses
// the paths of a dataset, selects files by their entities, brings their
// companions along, and makes the tables agree with what is shown.
//
// It is pure: no I/O, no goroutines, no clock. Where a rule needs what a file
// says (a JSON sidecar, a table), the caller hands in a function that reads it,
// and may hand in a memory of what such files said before.
//
// Invariants:
//
//   - The primary selection is what pybids' BIDSLayout.get selects, file for
//     file, within the subject trees; tables (scans, sessions) are never
//     primary.
//   - Of a study, the subject trees are those of its raw datasets, each of which is
//     selected from as if it were alone.
//   - Every primary file is in the view, and the view is closed under the
//     companion rules.
//   - Selecting in the view again gives the same primary files.
//   - Filters are monotone: one more value in a list never removes a primary
//     file, one more dimension never adds one.
//   - Files are shown as they are; only tables and JSON files that name files
//     or subjects that are not shown get new content, and of these every byte
//     that need not go stays.
//   - An opaque directory (.ds, .mefd, .zarr, a BTi directory) is one file:
//     shown or hidden whole.
//
// The vocabulary is that of the BIDS specification 1.11 (entities, suffixes,
// the inheritance principle), but an unknown entity, suffix or datatype can be
// selected like any other.
package bids
