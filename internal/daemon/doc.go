// Package daemon is the one process that owns a cache directory and answers its
// control socket.
//
// Badger lets one process in, one budget needs one accountant, and two readers
// of one file need one transfer: so there is one daemon per cache, started by
// the first command that needs it and gone shortly after its last mount.
//
// Invariants:
//
//   - Whoever changes anything in a cache directory holds its lock (flock on
//     the file "lock"). The kernel releases it with the process, so a daemon
//     killed at any moment leaves nothing locked, and the next one repairs.
//   - A request begins only while the daemon serves; see lifetime for its end. A
//     daemon at work is never replaced by one of another version.
//   - A panic ends the request or the mount that it happens in, and no other.
//   - A request ends with a result or an [advice.Error]; what it says is for
//     people: what happened, why, what to do.
package daemon
