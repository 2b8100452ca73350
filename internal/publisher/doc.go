// Package publisher serves made datasets and their content over HTTP on this
// machine's loopback address, as S3 would.
//
// The server listens on 127.0.0.1 only. It counts what it is asked and what
// it sends, can behave like a slow or distant link, and can lie in every way
// a [Fault] names.
package publisher
