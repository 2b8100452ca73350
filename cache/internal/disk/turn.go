package disk

// Turn is a lock that is held while the disk works. It is a channel, so that a
// test with a clock of its own sees who waits for it. Make one with NewTurn.
type Turn chan struct{}

// NewTurn returns a free lock.
func NewTurn() Turn { return make(Turn, 1) }

// Lock waits for the lock.
func (t Turn) Lock() { t <- struct{}{} }

// TryLock takes the lock if it is free.
func (t Turn) TryLock() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

// Unlock gives the lock back.
func (t Turn) Unlock() { <-t }
