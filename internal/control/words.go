package control

// Phase is what a long request is doing.
type Phase string

// The phases, in about the order in which they come.
const (
	PhaseWait     Phase = "wait"     // for another request, which Progress.Text names
	PhaseClone    Phase = "clone"    // the dataset's list of files, not their content
	PhaseSnapshot Phase = "snapshot" // the files of a commit are listed
	PhaseFetch    Phase = "fetch"    // content comes into the cache
	PhasePlan     Phase = "plan"     // what a download finds in its target
	PhaseGet      Phase = "get"      // files come into a download's target
)

// Phases are all of them.
var Phases = []Phase{PhaseWait, PhaseClone, PhaseSnapshot, PhaseFetch, PhasePlan, PhaseGet}

// FileState is where the content of a file is.
type FileState string

// The states of files.
const (
	InGit   FileState = "git"     // in git, or made for the view
	Cached  FileState = "cached"  // in the cache, all of it
	Local   FileState = "local"   // in the user's own repository
	Partial FileState = "partial" // in the cache, some of it
	// Subdataset is a directory that stands for another dataset, into which nobody
	// has looked, or could.
	Subdataset FileState = "subdataset"
	Missing    FileState = "missing" // not on this machine
)

// FileStates are all of them.
var FileStates = []FileState{InGit, Cached, Local, Partial, Subdataset, Missing}

// Action is what a FilesRequest does with files.
type Action string

// The actions.
const (
	Pin      Action = "pin"      // fetch them, and never evict or clean them
	Unpin    Action = "unpin"    // let them be evicted and cleaned again
	Prefetch Action = "prefetch" // fetch them
	Evict    Action = "evict"    // drop them from the cache
	Verify   Action = "verify"   // hash cached ones again, and remove damaged ones
)

// Actions are all of them.
var Actions = []Action{Pin, Unpin, Prefetch, Evict, Verify}
