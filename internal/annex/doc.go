// Package annex speaks git-annex's words: keys, links, pointer files, object
// directories, and the logs of the git-annex branch.
//
// It is pure: no I/O, no goroutines, no state. What it parses comes from a
// dataset and is untrusted; nothing malformed ever becomes a [Key], so a Key
// is safe to use as a file name through [Key.FileName] and [Key.ObjectPath].
package annex
