// Package program runs git and other programs for us: bounded in memory, output
// and silence, deaf to what is around them, and gone with all that they started
// when this process is, or when nobody waits for them any more. What they say is
// kept, and their progress found in it.
//
// A panic in what is done for one of them ends that only.
package program
