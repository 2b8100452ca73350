package schema

// Entity is a key of a file name that BIDS defines, as task in task-rest.
type Entity struct {
	Short string // the key in file names: "acq"
	Long  string // its name in the specification: "acquisition"
	Index bool   // values are numbers: 1, 01 and 001 are the same
}

// Entities are the entities of BIDS in the order they have in file names
// (specification 1.11, appendix "Entities").
var Entities = [...]Entity{
	{Short: "sub", Long: "subject"},
	{Short: "tpl", Long: "template"},
	{Short: "ses", Long: "session"},
	{Short: "cohort", Long: "cohort"},
	{Short: "sample", Long: "sample"},
	{Short: "task", Long: "task"},
	{Short: "tracksys", Long: "tracksys"},
	{Short: "acq", Long: "acquisition"},
	{Short: "nuc", Long: "nucleus"},
	{Short: "voi", Long: "volume"},
	{Short: "ce", Long: "ceagent"},
	{Short: "trc", Long: "tracer"},
	{Short: "stain", Long: "stain"},
	{Short: "rec", Long: "reconstruction"},
	{Short: "dir", Long: "direction"},
	{Short: "run", Long: "run", Index: true},
	{Short: "mod", Long: "modality"},
	{Short: "echo", Long: "echo", Index: true},
	{Short: "flip", Long: "flip", Index: true},
	{Short: "inv", Long: "inversion", Index: true},
	{Short: "mt", Long: "mtransfer"},
	{Short: "part", Long: "part"},
	{Short: "proc", Long: "processing"},
	{Short: "hemi", Long: "hemisphere"},
	{Short: "space", Long: "space"},
	{Short: "split", Long: "split", Index: true},
	{Short: "recording", Long: "recording"},
	{Short: "chunk", Long: "chunk", Index: true},
	{Short: "atlas", Long: "atlas"},
	{Short: "seg", Long: "segmentation"},
	{Short: "scale", Long: "scale"},
	{Short: "res", Long: "resolution"},
	{Short: "den", Long: "density"},
	{Short: "label", Long: "label"},
	{Short: "desc", Long: "description"},
}

// FindEntity finds an entity by its short or long name; known is false for one
// that BIDS does not define, whose short name is then what was given.
func FindEntity(name string) (e Entity, known bool) {
	for _, e := range Entities {
		if e.Short == name || e.Long == name && e.Short != "mod" {
			return e, true
		}
	}
	return Entity{Short: name}, false
}

// ShortKey returns the key that an entity's name stands for in file names. An
// unknown one stands for itself.
func ShortKey(name string) string {
	e, _ := FindEntity(name)
	return e.Short
}

// IsIndex reports whether the values of a key are numbers.
func IsIndex(key string) bool {
	e, _ := FindEntity(key)
	return e.Index
}
