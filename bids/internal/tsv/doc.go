// Package tsv reads the tables of BIDS: tab-separated values with a header. It
// is pure. Whatever is kept of a table keeps its bytes.
package tsv
