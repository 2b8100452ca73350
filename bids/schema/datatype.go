package schema

// IsDatatype reports whether BIDS defines a datatype.
func IsDatatype(word string) bool {
	switch word {
	case "beh", "eeg", "emg", "ieeg", "meg", "micr", "motion", "mrs", "nirs", "pet":
		return true
	}
	return IsMRI(word)
}

// IsMRI reports whether a datatype is of the modality "mri" (specification,
// rules/modalities).
func IsMRI(datatype string) bool {
	switch datatype {
	case "anat", "dwi", "fmap", "func", "perf":
		return true
	}
	return false
}
