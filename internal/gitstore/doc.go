// Package gitstore reads the objects of one git repository. It never writes.
//
// A [Store] reads through long-lived "git cat-file" children or, where git is
// not installed, through go-git; both answer alike. What it promises:
//
//   - An object is whole and has the id it was asked by, or there is an error.
//     Every object read is hashed; git itself does not look.
//   - An object that should be there and is not gives [ErrMissing] or
//     [ErrDamaged]. Nothing is left out silently, so a list made from trees
//     read here is complete.
//   - Nothing of the repository's configuration is obeyed that could start a
//     program or reach the network.
//
// Only repositories with SHA-1 ids are read: git-annex datasets have no other.
package gitstore
