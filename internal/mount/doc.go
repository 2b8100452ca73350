// Package mount is what a mount shows: a version of a dataset, and the subdatasets that
// somebody looks into, each with the content of its files.
//
// Invariants:
//
//   - A part never changes once somebody has seen it; a subdataset is looked for once
//     for all who wait, and its failure is remembered for some seconds.
//   - A mount holds the datasets that it shows until Close.
//   - Listing and stat of what is known make no request; opening a file makes none.
package mount
