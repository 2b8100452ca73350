// Package candidates says where a subdataset may be: what DataLad would try, in
// its order and with its words, and which of that is allowed.
//
// It is pure: what is known of the parent dataset goes in, and an ordered list
// comes out. Three steps follow each other:
//
//   - [Parent.List] makes the list that `datalad get` makes of the record in
//     .gitmodules, the parent's remotes and the configuration: equal URLs, costs
//     and names. It judges nothing.
//   - [Resolve] turns DataLad's own URLs (ria+..., ///...) into git's.
//   - [Reach.Check] says which of them is asked, and how: a subdataset's URL is the
//     word of a stranger, other than that of the dataset which the user named.
//
// What is allowed depends on who spoke. The user named a dataset, and may have
// set templates and rewritten URLs in their own configuration: the hosts and
// directories in those are asked as the user's own. All else comes from datasets:
// public web servers only, and no directory of this machine that is not below one
// that the user named. A dataset's word never adds to what is allowed, also not
// for its own subdatasets.
package candidates
