// Package readahead guesses which file is read next, from those that were: BIDS
// tools go through files of one kind in the order of their names. It decides and
// remembers; what a guess costs, and when there is time for it, is its caller's
// business. It does no I/O.
package readahead
