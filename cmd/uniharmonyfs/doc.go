// Command uniharmonyfs shows git-annex BIDS datasets as folders of plain
// files, fetching content when it is read.
//
// This package has words for people: flags, output, progress, exit codes. It
// decides nothing; the daemon does.
package main
