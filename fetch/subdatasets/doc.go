// Package subdatasets gets the datasets that a dataset has within it: it tries the
// places that DataLad would, in its order (fetch/internal/candidates), and returns a
// hidden clone at the commit that the parent names.
//
// What is one clone. A clone is of a URL, as that of a dataset which the user named,
// and a version of it is the commit. So whatever parents and paths lead to the same
// URL and commit share one clone, and need no network once it is there; where several
// places of a subdataset have clones, the first in DataLad's order is taken. Neither
// the DataLad id nor the commit alone is the identity: both are a parent's word. The
// commit is proof of the files, but not of the git-annex branch beside it, which says
// where their content is. Were a clone known by the commit, then a hostile dataset
// could put a clone from its own server, with a branch of its own, in the place of
// somebody else's subdataset. By the URL it can only lead to what the server of that
// URL itself has, and only for those who name it.
//
// Two consequences are guarded elsewhere: a commit that only a dataset has named is
// never taken for a short version that a user gives (fetch/manifest.go), and a branch
// that a server calls by a commit's name is not taken for that commit (fetch/refs.go).
//
// What a subdataset's URL may be is decided by candidates.Reach, which starts at what
// the user named and is handed on unchanged to subdatasets of subdatasets. For what is
// not named by the user, git connects to public addresses only, through a tunnel of
// this process; a directory is looked at again after links were followed.
//
// Everything exported is safe for concurrent use.
package subdatasets
