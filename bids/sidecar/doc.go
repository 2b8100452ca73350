// Package sidecar is what files say of others: which files a JSON sidecar or a
// table names, in a form that can be kept, and a sidecar without some of them.
// It is pure.
//
// What a sidecar is changed in, is nothing but the names that go: every other
// byte stays.
package sidecar
