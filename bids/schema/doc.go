// Package schema is what BIDS says of names: entities, datatypes, extensions,
// and how a file name is put together. It is pure.
//
// The vocabulary is that of the BIDS specification 1.11. An unknown entity,
// suffix or datatype is a word like any other.
package schema
