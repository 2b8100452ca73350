// Package layout is the names of one dataset, parsed: which directory is what,
// what a file's name says, which files apply to which by their names, and where
// a path leads. It is pure.
//
// A million files take little room: words are numbers, and files and
// directories are numbers, too. Nothing here depends on what is selected.
package layout
