package control

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/cache"
	"github.com/uniharmony/uniharmonyfs/internal/advice"
	"github.com/uniharmony/uniharmonyfs/internal/commit"
	"github.com/uniharmony/uniharmonyfs/internal/place"
)

// A Dataset says which dataset a request is about.
type Dataset struct {
	// Spec is a URL (also one of DataLad's), an absolute path (repository or git
	// bundle), or an OpenNeuro accession.
	Spec string `json:"dataset"`
	// Version is a tag or commit; empty means the newest at first use.
	Version string `json:"version,omitempty"`
	// Template is the URL of an OpenNeuro accession, with {id} in it.
	Template string `json:"template,omitempty"`
	// Offline forbids every use of the network.
	Offline bool `json:"offline,omitempty"`
	// Fetcher is auto, native or annex.
	Fetcher string `json:"fetcher,omitempty"`
	// AllowAddresses are private addresses that content may come from.
	AllowAddresses []string `json:"allow_addresses,omitempty"`
	// Timeout bounds the wait for a source that sends nothing; 0 is the default.
	Timeout time.Duration `json:"timeout,omitempty"`
	// Env are the caller's environment variables that git may need.
	Env []string `json:"env,omitempty"`
	// Recursive reaches into all subdatasets, also where nothing narrows the selection.
	Recursive bool `json:"recursive,omitempty"`
	// RecursionLimit is how many levels of subdatasets are reached into, or shown; 0 is
	// none, and nil all.
	RecursionLimit *int `json:"recursion_limit,omitempty"`
}

// MaxLevels bounds how many subdatasets are shown within each other.
const MaxLevels = 100

// Levels is how many levels of subdatasets are shown.
func (d Dataset) Levels() int {
	if d.RecursionLimit == nil {
		return MaxLevels
	}
	return min(max(*d.RecursionLimit, 0), MaxLevels)
}

// MountRequest asks for a mount.
type MountRequest struct {
	Dataset
	ID string `json:"id,omitempty"` // to be named by in an [UnmountRequest]
	// Catalogs are superdatasets, as Spec names one: instead of one dataset, a folder of
	// those at their roots is shown, and of all of OpenNeuro. Spec and Version are empty.
	Catalogs []string `json:"catalogs,omitempty"`
	// OpenNeuro shows the newest version of OpenNeuro's of each accession that Catalogs
	// have, instead of what they have.
	OpenNeuro  bool           `json:"openneuro,omitempty"`
	Selection  bids.Selection `json:"selection"`
	Target     string         `json:"target"` // absolute
	Budget     int64          `json:"budget,omitempty"`
	AllowOther bool           `json:"allow_other,omitempty"`
	// Device is the path at which the descriptor of a FUSE connection is offered that is
	// mounted already, see [Client.Offer]; Target is only its name then.
	Device string `json:"device,omitempty"`
	// Strict serves nothing of a file before all of it is verified.
	Strict bool `json:"strict,omitempty"`
	// Patience is how long a read waits without a new byte while no source can
	// be reached; nil is [DefaultPatience].
	Patience *time.Duration `json:"patience,omitempty"`
	// NoReadAhead fetches nothing beyond what readers are about to read.
	NoReadAhead bool `json:"no_readahead,omitempty"`
	// Prefetch fetches all that is shown, in the background.
	Prefetch bool `json:"prefetch,omitempty"`
	// Umask is the caller's, for the target and what is missing above it.
	Umask uint32 `json:"umask,omitempty"`
	// Layer is for a view that is going to lie below another file system, such as an
	// overlay: its files look writable to their owner.
	Layer bool `json:"layer,omitempty"`
	// Writable is an upper directory, an absolute path: what is written in the mount is kept
	// there.
	Writable string `json:"writable,omitempty"`
}

// Listed is the request that lists what a mount of a commit shows.
func (r MountRequest) Listed(commit string) ListRequest {
	return ListRequest{Selection: r.Selection, Dataset: Dataset{
		Spec: r.Spec, Version: commit, Template: r.Template, Recursive: r.Recursive, RecursionLimit: r.RecursionLimit,
	}}
}

// DefaultPatience is how long reads in a mount wait out an outage.
const DefaultPatience = 2 * time.Minute

// MountInfo describes a mount.
type MountInfo struct {
	Target    string         `json:"target"`
	Dataset   string         `json:"dataset"`
	Version   string         `json:"version,omitempty"`
	Commit    string         `json:"commit"`
	Selection bids.Selection `json:"selection"`
	Files     int            `json:"files"`
	Bytes     int64          `json:"bytes"`
	Cached    int            `json:"cached"`             // files whose content was fetched and is here
	Catalogs  []string       `json:"catalogs,omitempty"` // of a folder of datasets
	// Subdatasets are shown as directories; into those of Opened somebody has looked.
	Subdatasets int             `json:"subdatasets,omitempty"`
	Opened      []OpenedPart    `json:"opened,omitempty"`
	Hidden      []commit.Hidden `json:"hidden,omitempty"`
	Hints       []string        `json:"hints,omitempty"`
	Offline     bool            `json:"offline,omitempty"`
	Passthrough bool            `json:"passthrough"`
	Writable    string          `json:"writable,omitempty"`
	Strict      bool            `json:"strict,omitempty"`
	NoReadAhead bool            `json:"no_readahead,omitempty"`
	Patience    time.Duration   `json:"patience"`
	Prefetching bool            `json:"prefetching,omitempty"`
	OpenFiles   int             `json:"open_files"`
	Clone       string          `json:"clone"`
	Since       time.Time       `json:"since"`
}

// OpenedPart is a subdataset that somebody has looked into, at a path of a mount.
type OpenedPart struct {
	Path    string `json:"path"`
	Dataset string `json:"dataset"`
	Commit  string `json:"commit"`
	Files   int    `json:"files"`
	Bytes   int64  `json:"bytes"`
}

// HoldRequest asks for a mount that goes with the connection that it is asked for over.
type HoldRequest struct {
	MountRequest
	Clean bool `json:"clean,omitempty"` // drop then what it brought
	// Directories are removed in the end, one after the other, if they are empty.
	Directories []string `json:"directories,omitempty"`
}

// UnmountRequest ends a mount.
type UnmountRequest struct {
	Target string `json:"target"`
	// ID gives up the request of this ID, also when it is carried out later;
	// what else is mounted at Target stays.
	ID    string `json:"id,omitempty"`
	Clean bool   `json:"clean,omitempty"`
	Force bool   `json:"force,omitempty"`
}

// UnmountResult says what an unmount did.
type UnmountResult struct {
	Target  string `json:"target"`
	Files   int    `json:"files"` // objects dropped from the cache
	Bytes   int64  `json:"bytes"`
	Removed bool   `json:"cache_removed"`
	Pinned  int64  `json:"pinned_bytes"` // kept
}

// ListRequest asks for the files of a selection.
type ListRequest struct {
	Dataset
	Selection bids.Selection `json:"selection"`
	Plain     bool           `json:"plain,omitempty"`   // primary files only
	Explain   []string       `json:"explain,omitempty"` // instead: why these paths are in the view or not
	Facets    bool           `json:"facets,omitempty"`  // instead: what there is to select by
}

// Explanation says why a path is in a view or not.
type Explanation struct {
	Path  string `json:"path"`
	Shown bool   `json:"shown"`
	Why   string `json:"why"`
}

// File is one file of a dataset.
type File struct {
	Path   string    `json:"path"`
	Exact  []byte    `json:"path_base64,omitempty"` // the path, when it is not UTF-8
	Size   int64     `json:"size"`
	State  FileState `json:"state"`
	Pinned bool      `json:"pinned,omitempty"`
	Key    string    `json:"key,omitempty"`
}

// Here reports whether the content is on this machine.
func (f File) Here() bool { return f.State == InGit || f.State == Cached || f.State == Local }

// FilesRequest does something with files: those of a selection, or paths
// inside mounts (a directory means everything below it).
type FilesRequest struct {
	Dataset
	Do        Action         `json:"do"`
	Selection bids.Selection `json:"selection"`
	Paths     []string       `json:"paths,omitempty"` // absolute
	NoFetch   bool           `json:"no_fetch,omitempty"`
	Repair    bool           `json:"repair,omitempty"`
}

// FilesResult says what a FilesRequest did.
type FilesResult struct {
	Files    int          `json:"files"`
	Bytes    int64        `json:"bytes"`
	Repaired int          `json:"repaired,omitempty"` // damaged, and fetched again
	Failed   []FileFailed `json:"failed,omitempty"`
}

// GetRequest downloads the files of a selection into a directory.
type GetRequest struct {
	Dataset
	Selection bids.Selection `json:"selection"`
	Target    string         `json:"target"`              // absolute
	Plain     bool           `json:"plain,omitempty"`     // primary files only
	Direct    bool           `json:"direct,omitempty"`    // the target is a DataLad dataset
	Copy      bool           `json:"copy,omitempty"`      // with Direct: real files instead of links
	TmpClean  bool           `json:"tmp_clean,omitempty"` // drop from the cache what this call brings
	Hardlink  bool           `json:"hardlink,omitempty"`  // share the cache's files, read-only
	Force     bool           `json:"force,omitempty"`     // overwrite files that differ
	DryRun    bool           `json:"dry_run,omitempty"`
	Jobs      int            `json:"jobs,omitempty"`
	Budget    int64          `json:"budget,omitempty"`
	Umask     uint32         `json:"umask,omitempty"`
}

// Plan says what a get is going to do.
type Plan struct {
	Target      string  `json:"target"`
	Files       int     `json:"files"`
	Bytes       int64   `json:"bytes"`
	ThereFiles  int     `json:"there_files"` // in the target, identical
	ThereBytes  int64   `json:"there_bytes"`
	CachedFiles int     `json:"cached_files"` // to be copied only
	FetchFiles  int     `json:"fetch_files"`
	FetchBytes  int64   `json:"fetch_bytes"`
	FreeBytes   int64   `json:"free_bytes"`        // on the target's disk
	Seconds     float64 `json:"seconds,omitempty"` // estimated by the speed of the last get
}

// GetResult says what a get did.
type GetResult struct {
	Target       string       `json:"target"`
	Files        int          `json:"files"` // that are there now
	Bytes        int64        `json:"bytes"`
	FetchedBytes int64        `json:"fetched_bytes"`
	Failed       []FileFailed `json:"failed,omitempty"`
	Seconds      float64      `json:"seconds"`
}

// FileFailed names a file that could not be had.
type FileFailed struct {
	Path string `json:"path"`
	Why  string `json:"why"`
}

// CleanRequest removes hidden clones and what was cached through them.
type CleanRequest struct {
	Names []string `json:"names,omitempty"`
	All   bool     `json:"all,omitempty"`
	Pins  bool     `json:"pins,omitempty"` // pinned files too
}

// CleanResult says what was removed.
type CleanResult struct {
	Datasets []string `json:"datasets"`
	Files    int      `json:"files"`
	Bytes    int64    `json:"bytes"`
	Removed  bool     `json:"cache_removed"`
	Pinned   int64    `json:"pinned_bytes"`
}

// StatusRequest asks for the state of the cache, and of paths inside mounts.
type StatusRequest struct {
	Paths []string `json:"paths,omitempty"`
}

// Status is the state of a cache and of what is mounted from it.
type Status struct {
	Cache    string       `json:"cache"`
	Version  string       `json:"version"`
	PID      int          `json:"pid"`
	Since    time.Time    `json:"since"`
	Mounts   []MountInfo  `json:"mounts"`
	Datasets []string     `json:"datasets"` // hidden clones
	Clones   []CloneInfo  `json:"clones"`   // the same, with what they are of
	Store    cache.Status `json:"store"`
	Paths    []PathStatus `json:"paths,omitempty"`
}

// CloneInfo describes a hidden clone.
type CloneInfo struct {
	Name    string `json:"name"`
	Dataset string `json:"dataset,omitempty"`
}

// PathStatus is the state of one file inside a mount.
type PathStatus struct {
	File
	Mount  string        `json:"mount"`
	Errors []cache.Event `json:"errors,omitempty"` // newest last
}

// ListResult sums up a list.
type ListResult struct {
	Files  int      `json:"files"`
	Bytes  int64    `json:"bytes"`
	Cached int      `json:"cached"`
	Commit string   `json:"commit"`
	Hints  []string `json:"hints,omitempty"`

	Explained []Explanation `json:"explained,omitempty"`
	Facets    []bids.Facet  `json:"facets,omitempty"`
}

// Progress of a long request. Total is 0 while unknown.
type Progress struct {
	Phase  Phase  `json:"phase"`
	Done   int64  `json:"done"`
	Total  int64  `json:"total,omitempty"`
	Files  int    `json:"files,omitempty"`  // of them done
	Failed int    `json:"failed,omitempty"` // of them failed
	Text   string `json:"text,omitempty"`
}

// Event is one line of a reply: any number of progress and item lines, then
// one result or error.
type Event struct {
	Progress *Progress       `json:"progress,omitempty"`
	Item     json.RawMessage `json:"item,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"`
	Fault    *advice.Error   `json:"fault,omitempty"`
}

// check returns what is wrong with a line: it says one thing. One that says
// nothing known is of a later version, and no error.
func (e Event) check() error {
	said := 0
	for _, is := range []bool{e.Progress != nil, e.Item != nil, e.Result != nil, e.Fault != nil} {
		if is {
			said++
		}
	}
	switch {
	case said > 1:
		return errors.New("one line says several things")
	case string(e.Result) == "null":
		return errors.New("its result is nothing")
	}
	return nil
}

// DefaultGrace is how long a daemon that nobody asks for anything stays.
const DefaultGrace = 10 * time.Second

// Hello is what a daemon says of itself.
type Hello struct {
	Version string `json:"version"`
	PID     int    `json:"pid"`
	Mounts  int    `json:"mounts"`
	// Work names the requests in progress that must not be cut off. It is null
	// from daemons of versions that cannot tell.
	Work []string `json:"work"`
	// Idle is since when nothing is mounted or being done, in nanoseconds; 0 is that
	// something is.
	Idle  time.Duration `json:"idle"`
	Place place.Place   `json:"place"`
}
