// Package place tells where a process lives: on which host, in which namespaces and
// control groups, for which batch job. What serves a view may be killed with any of
// these, and what it mounts is seen in its mount namespace only.
package place
