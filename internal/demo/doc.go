// Package demo is the dataset that the program brings with it, made and served on
// this machine.
package demo
