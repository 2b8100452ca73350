// Package cachedir is the cache directory as a whole: its marker, its lock, what
// lies in it under which name, its log and its settings. What the objects are is
// package cache's business.
//
// It keeps to this:
//
//   - A directory becomes a cache only when it is empty or missing, and then
//     carries the marker file; nothing without the marker is ever removed.
//   - Nobody but its owner can look into it.
//   - Who holds the lock is the one process that writes. It is held by a
//     descriptor, so it ends with the process (flock(2)).
//   - The marker and the settings are the old ones or the new ones, never half of
//     them, also after a power cut.
//   - Removing a cache follows no link, and stops where a disk is mounted.
//
// A Dir is a path, and safe for concurrent use.
package cachedir
