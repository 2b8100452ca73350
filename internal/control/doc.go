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
//     go first, and a request must be said within half a minute.
//   - An answer is lines of JSON: progress and items, then one result or one
//     [advice.Error].
//   - A daemon that has not begun to answer has done nothing: the client may ask
//     the next one.
//   - A path is bytes. One that is not UTF-8 comes as text for people, and exactly
//     in a second field.
//
// A Client is safe for concurrent use.
package control
