// Package job runs one command on a view of its own.
//
// Invariants:
//
//   - The view is there before the command begins, and goes after it has ended, also when
//     this process is killed: the connection that holds it ends then.
//   - The command dies with this process, has its signals, and is the user that it was.
//   - The view's daemon is of the same host, namespaces and batch job as this process, or is
//     this process's own.
//   - Nothing of ours is left: no mount, no process, no directory. Where all are killed at
//     once, the next command removes what is left. What the command started in the
//     background may outlive it.
package job
