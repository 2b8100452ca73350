// Package web brings the content of a URL over HTTP. It knows no git.
//
// Invariants:
//
//   - URLs are untrusted. They lead to http and https only, and not to loopback,
//     private or link-local addresses unless these are allowed, which is checked
//     at every connection, also after redirects.
//   - A byte is only passed on when the server says that it is the one at that
//     offset of a file of the size that is known. Bytes of two versions are
//     never mixed.
//   - Every wait has a bound. A server that cannot be reached, or wishes so, is
//     left alone for a while, by all that ask.
package web
