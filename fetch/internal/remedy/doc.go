// Package remedy makes of what git, git-annex, ssh and HTTP clients say what
// happened, why, and what to do about it. It is pure: the words go in, and an
// error that is harmless to show comes out.
package remedy
