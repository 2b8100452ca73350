// Package job runs one command on a view of its own.
//
// Invariants:
//
//   - The view is there before the command begins, and goes after it has ended, also when
//     this process is killed: the connection that holds it ends then.
//   - The command dies with this process, has its signals, and is the user that it was.
//   - Nothing of ours is left: no mount, no process, no directory; but an empty directory
//     where the command has namespaces of its own and this process is killed. What the command started in
//     the background may outlive it.
package job
