package bids

// Pseudo-entities: what a file name or its directory says without a key.
const (
	dimModality = "modality"
	dimSuffix   = "suffix"
	dimExt      = "ext"
)

// Values that stand for the absence and the presence of an entity. No label
// can hold their first character.
const (
	None = "@none"
	Any  = "@any"
)
