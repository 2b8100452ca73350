// Package fetch is everything that talks to the outside: it clones datasets,
// finds the places that have a key's content, and moves bytes.
//
// Invariants:
//
//   - Nothing here decides that content is right: bytes go to whoever asked,
//     who hashes them. But a byte is only passed on when the server says that
//     it is the one at that offset of a file of the key's size.
//   - What a dataset says is untrusted: URLs lead to http and https only, and
//     not to loopback, private or link-local addresses, which is checked at
//     every connection, also after redirects; nothing that a dataset names is
//     run, and hooks, submodules and special remotes that run programs stay
//     off.
//   - Every wait has a bound, every failure an explanation. Child processes
//     die with this one.
//   - A hidden clone is whole or not there: it is made aside and renamed. Only
//     the git-annex branch comes after, or parts of it: the manifest says which
//     versions lack it, and whether there are parts. No source of a key is asked
//     before what the branch says of the key is there, and git-annex not before
//     all of it is. Git gets nothing by itself for us.
//
// Everything exported is safe for concurrent use.
package fetch
