// Package demo makes true git-annex BIDS datasets and serves their content
// over HTTP on this machine's loopback address, as S3 would. The demo command
// shows the product on such a dataset; every test that needs a dataset or a
// publisher makes its own here.
//
// What it makes depends only on what it is given: the same [Dataset] has the
// same commit ids, keys, version ids and bytes on every machine. No git and
// no git-annex are needed to make one, and git-annex itself accepts it: logs
// of the git-annex branch, exporttree remotes and keys are as it writes them.
//
// Content that is given by a size and a seed is computed where it is read and
// never kept, so a dataset of many gigabytes costs no disk and little memory.
//
// The server listens on 127.0.0.1 only. It counts what it is asked and what
// it sends, can behave like a slow or distant link, and can lie in every way
// a [Fault] names.
package demo
