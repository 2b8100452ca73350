// Package manual makes of a program's commands and flags what people read beside its
// help: man pages, and completion scripts. All of it comes from the same words.
package manual
