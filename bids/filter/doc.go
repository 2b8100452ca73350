// Package filter is how files are asked for: by values of entities, datatypes,
// suffixes and extensions, by globs, by BIDS filter files, and by conditions
// on what tables and sidecars say. It is pure.
//
// It knows what may be asked, and what a value means; which files there are, it
// does not know.
package filter
