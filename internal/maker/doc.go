// Package maker makes true git-annex BIDS datasets, for the demo, the tests and
// the benchmarks.
//
// What it makes depends only on what it is given: the same [Dataset] has the
// same commit ids, keys, version ids and bytes on every machine. No git and
// no git-annex are needed to make one, and git-annex itself accepts it: logs
// of the git-annex branch, exporttree remotes and keys are as it writes them.
//
// Content that is given by a size and a seed is computed where it is read and
// never kept, so a dataset of many gigabytes costs no disk and little memory.
package maker
