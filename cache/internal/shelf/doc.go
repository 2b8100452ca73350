// Package shelf is what lies on a cache's disk, and the accounts of it: objects,
// partial files at rest, what they take and who may remove them. It brings nothing:
// of transfers it knows that one has a partial file, and what it has reserved.
//
// Invariants:
//
//   - Who may touch the file under an object's name follows from the object's
//     [Phase], which changes in one place.
//   - Nothing is removed that somebody has open, or that is pinned. What cannot be
//     removed stays on the books, and others make room instead.
//   - used + reserved never exceeds the budget, but for pinned files that a smaller
//     budget no longer holds.
//   - The disk is the truth. The ledger vouches for an object only after its data was
//     flushed; whatever it does not vouch for is hashed before it is served.
//   - Bytes that were served and cannot be proven any more are revoked, and until that
//     has ended their readers get errors.
//
// There is one lock, that of [Shelf.Do]; what transfers and handles are is guarded by
// it too. Nothing that can wait is done with it held: no file is opened, read, written,
// hashed or removed. Functions whose comment says "callers hold the lock" are called
// within Do, all others outside of it.
package shelf
