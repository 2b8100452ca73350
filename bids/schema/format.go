package schema

import "slices"

// FormatOf returns the extensions of the files that only together are a
// recording, or nil if a file of this one stands for itself.
func FormatOf(ext string) []string {
	for _, set := range [...][]string{
		{".vhdr", ".vmrk", ".eeg"}, {".set", ".fdt"}, {".kdf", ".trg", ".chn"}, {".mhd", ".raw"}, {".con", ".mrk"}, {".sqd", ".mrk"},
	} {
		if slices.Contains(set, ext) {
			return set
		}
	}
	return nil
}

// FieldmapOf returns the suffixes of the images that only together are a
// fieldmap, or nil if one of this suffix stands for itself.
func FieldmapOf(suffix string) []string {
	for _, set := range [...][]string{
		{"phasediff", "phase1", "phase2", "magnitude1", "magnitude2"}, {"fieldmap", "magnitude"},
	} {
		if slices.Contains(set, suffix) {
			return set
		}
	}
	return nil
}

// IsNIfTI reports whether an extension is that of an image.
func IsNIfTI(ext string) bool { return ext == ".nii.gz" || ext == ".nii" }

// BOM is what text files may begin with: the byte order mark of UTF-8.
const BOM = "\xef\xbb\xbf"
