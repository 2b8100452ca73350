// Package control is the control socket of a cache: the requests that a daemon
// answers with their results, the client that sends them and starts a daemon
// where none is, and the listener that a daemon answers on. It speaks HTTP with
// JSON:
//
//	curl --unix-socket daemon.sock http://cache/v1/status
//
// It keeps to this:
//
//   - The socket answers its owner only: it is 0600 in a directory of 0700, and
//     each side asks the kernel who the other is (unix(7), SO_PEERCRED). A client
//     follows no link in the socket's place.
//   - Nobody who connects keeps others out: connections are bounded, the idle ones
//     go first, and a request must be said within half a minute. One whose request
//     was read is never closed for another.
//   - An answer is lines of JSON, each of which says one thing: progress and items,
//     then one result or one [advice.Error].
//   - A daemon that has not begun to answer has done nothing: the client may ask
//     the next one.
//   - A path is bytes. In an answer one that is not UTF-8 comes as text for people,
//     and exactly in a second field; a request that has one is refused.
//   - Whatever a daemon does or does not say, a client that starts one or has it
//     replaced ends within a bound, with advice.
//
// docs/control-api.md has every request, with an example that a test runs.
//
// A Client is safe for concurrent use.
package control
