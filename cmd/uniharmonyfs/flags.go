package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/uniharmony/uniharmonyfs/bids"
	"github.com/uniharmony/uniharmonyfs/bids/filter"
	"github.com/uniharmony/uniharmonyfs/bids/schema"
	"github.com/uniharmony/uniharmonyfs/fetch"
	"github.com/uniharmony/uniharmonyfs/internal/cachedir"
	"github.com/uniharmony/uniharmonyfs/internal/control"
)

// all is what an optional value stands for when it is left out.
const all = "@all"

// Flag categories, in the order of --help.
const (
	catSelection = "Selection (repeat, or separate by commas; globs; @none and @any for absent and present)"
	catEntities  = "Selection by other BIDS entities"
	catDataset   = "Dataset"
	catGeneral   = "General"
)

// aliases of the entities that people name most.
var aliases = map[string][]string{
	"sub":  {"subject", "subjects"},
	"ses":  {"session", "sessions"},
	"task": {"tasks"},
	"run":  {"runs"},
}

// selectionFlags are the same on every command that takes files.
func selectionFlags() []cli.Flag {
	list := func(name, usage string, alias ...string) cli.Flag {
		return &cli.StringSliceFlag{Name: name, Aliases: alias, Usage: usage, Category: catSelection}
	}
	flags := []cli.Flag{
		list("sub", "subjects: 01 or sub-01", aliases["sub"]...),
		list("ses", "sessions", aliases["ses"]...),
		list("modality", "datatypes: anat, func, dwi, fmap … (mri: all of MRI)", "modalities", "datatype"),
		list("task", "tasks", aliases["task"]...),
		list("run", "runs, compared as numbers", aliases["run"]...),
		list("suffix", "suffixes: T1w, bold …", "suffixes"),
		list("ext", "extensions: .nii.gz, .json …", "extension", "extensions"),
		list("root-files", "files at the root: all, none, or names"),
		&cli.StringFlag{Name: "companions", Usage: "files that come along (sidecars …): full, required, or none, with which tables and files at the root still come", Value: "full", Category: catSelection},
		&cli.StringSliceFlag{Name: "derivatives", Usage: "derivatives too: all, or those of one pipeline: --derivatives NAME", Category: catSelection},
		&cli.BoolFlag{Name: "sourcedata", Usage: "sourcedata too (the raw datasets of a study come without it)", Category: catSelection},
		&cli.BoolFlag{Name: "code", Usage: "code too", Category: catSelection},
		list("include", "only files whose path matches the glob"),
		list("exclude", "no files whose path matches the glob"),
		list("entity", "any other entity, as KEY=VALUE: coil=28"),
		&cli.StringFlag{Name: "where", Usage: `condition on columns of the tables and fields of the sidecars: 'age > 30 and sex == "F"'`, Category: catSelection},
		&cli.StringFlag{Name: "bids-filter-file", Usage: "fMRIPrep's JSON `FILE` of queries", Category: catSelection},
		&cli.StringFlag{Name: "intended-for", Value: "prune", Usage: "IntendedFor of files that are not shown: prune, or keep", Category: catSelection},
	}
	for _, e := range schema.Entities {
		if _, done := aliases[e.Short]; done {
			continue
		}
		f := &cli.StringSliceFlag{Name: e.Short, Usage: e.Long, Category: catEntities}
		if e.Long != e.Short && e.Long != "modality" && e.Long != "" {
			f.Aliases = []string{e.Long}
		}
		flags = append(flags, f)
	}
	return flags
}

// selection reads the selection flags.
func selection(c *cli.Context) (bids.Selection, error) {
	s := bids.Selection{
		Entities:   map[string][]string{},
		Datatype:   c.StringSlice("modality"),
		Suffix:     c.StringSlice("suffix"),
		Ext:        c.StringSlice("ext"),
		RootFiles:  c.StringSlice("root-files"),
		Sourcedata: c.Bool("sourcedata"),
		Code:       c.Bool("code"),
		Include:    c.StringSlice("include"),
		Exclude:    c.StringSlice("exclude"),
	}
	for _, e := range schema.Entities {
		if v := c.StringSlice(e.Short); len(v) > 0 {
			s.Entities[e.Short] = v
		}
	}
	for _, kv := range c.StringSlice("entity") {
		key, value, ok := strings.Cut(kv, "=")
		if !ok || key == "" || value == "" {
			return s, usage(fmt.Sprintf("--entity %s is not KEY=VALUE", kv), "for example: --entity coil=28")
		}
		s.Entities[key] = append(s.Entities[key], value)
	}
	if d := c.StringSlice("derivatives"); slices.Contains(d, all) {
		s.AllDerivatives = true
	} else {
		s.Derivatives = d
	}
	var err error
	if s.Companions, err = bids.ParseCompanions(c.String("companions")); err != nil {
		return s, err
	}
	switch how := c.String("intended-for"); how {
	case "prune":
	case "keep":
		s.IntendedForKeep = true
	default:
		return s, usage(fmt.Sprintf("--intended-for %s is neither prune nor keep", how))
	}
	s.Where = c.String("where")
	if file := c.String("bids-filter-file"); file != "" {
		data, err := readFilterFile(c.Context, file)
		if err != nil {
			return s, err
		}
		if s.AnyOf, err = filter.ParseFile(data); err != nil {
			return s, err
		}
	}
	return s, s.Validate()
}

// maxFilterFile bounds a filter file, in bytes.
const maxFilterFile = 16 << 20

// readFilterFile reads a file that may be a pipe, for which a signal does not
// wait.
func readFilterFile(ctx context.Context, name string) ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		f, err := os.Open(name)
		if err != nil {
			done <- result{nil, err}
			return
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, maxFilterFile+1))
		if len(data) > maxFilterFile {
			err = errors.New("it has more than 16 MiB")
		}
		done <- result{data, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, usage("the filter file cannot be read: " + r.err.Error())
		}
		return r.data, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func datasetFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "dataset", Aliases: []string{"d"}, Value: "ds004712", Usage: "URL (also of DataLad: ria+..., ///...), repository, git bundle, or OpenNeuro accession", EnvVars: []string{"UNIHARMONYFS_DATASET"}, Category: catDataset},
		&cli.StringFlag{Name: "version", Usage: "tag or commit (default: the newest when first used)", Category: catDataset},
		&cli.StringFlag{Name: "openneuro-url", Usage: "where accessions are, with {id} in it", EnvVars: []string{"UNIHARMONYFS_OPENNEURO_URL"}, Category: catDataset},
		&cli.BoolFlag{Name: "offline", Usage: "never use the network: only what is cached", Category: catDataset},
		&cli.StringFlag{Name: "fetcher", Value: "auto", Usage: "how content is fetched: auto, native (HTTPS), or annex (git annex get)", Category: catDataset},
		&cli.StringSliceFlag{Name: "allow-address", Usage: "private `ADDRESS` or network that content may come from", EnvVars: []string{"UNIHARMONYFS_ALLOW_ADDRESS"}, Category: catDataset},
		&cli.BoolFlag{Name: "recursive", Aliases: []string{"r"}, Usage: "reach into all subdatasets, not only those that the selection needs", Category: catDataset},
		&cli.IntFlag{Name: "recursion-limit", Usage: "reach into subdatasets down to `LEVELS` within each other (default: all)", Category: catDataset},
		&cli.BoolFlag{Name: "no-subdatasets", Usage: "leave subdatasets out: the same as --recursion-limit 0", Category: catDataset},
		&cli.DurationFlag{Name: "timeout", Value: 30 * time.Second, Usage: "longest wait for a source that sends nothing", Category: catDataset},
	}
}

// dataset reads the dataset flags.
func dataset(c *cli.Context) (control.Dataset, error) {
	d := control.Dataset{
		Spec:           c.String("dataset"),
		Version:        c.String("version"),
		Template:       c.String("openneuro-url"),
		Offline:        c.Bool("offline"),
		Fetcher:        c.String("fetcher"),
		AllowAddresses: c.StringSlice("allow-address"),
		Timeout:        c.Duration("timeout"),
		Env:            gitEnvironment(os.Environ()),
		Recursive:      c.Bool("recursive"),
	}
	if levels, none := c.Int("recursion-limit"), c.Bool("no-subdatasets"); c.IsSet("recursion-limit") || none {
		if levels < 0 || none && (levels > 0 || d.Recursive) {
			return d, usage(fmt.Sprintf("--recursion-limit %d is no number of levels to reach into", levels), "use 0 or more; --no-subdatasets is 0, without --recursive")
		}
		d.RecursionLimit = &levels
	}
	if d.Timeout <= 0 {
		return d, usage(fmt.Sprintf("--timeout %v is not a length of time above 0", d.Timeout))
	}
	if !slices.Contains([]string{"auto", "native", "annex"}, d.Fetcher) {
		return d, usage(fmt.Sprintf("--fetcher %s is none of auto, native and annex", d.Fetcher))
	}
	var err error
	d.Spec, err = spec(d.Spec)
	return d, err
}

// spec is what somebody calls a dataset, as the daemon understands it: a path means one
// here, and there it would mean another. An accession is none: a directory of that name
// is most likely where it was mounted. Nor is what DataLad writes with three slashes.
func spec(given string) (string, error) {
	if _, err := os.Stat(given); err == nil && !fetch.IsAccession(given) && !strings.HasPrefix(given, "///") {
		return filepath.Abs(given)
	}
	return given, nil
}

// catalogs reads the flags that ask for a folder of datasets, which there are none of
// where one dataset is asked for.
func catalogs(c *cli.Context, d *control.Dataset) (specs []string, err error) {
	given := c.StringSlice("catalog")
	if len(given) == 0 && c.Bool("openneuro") {
		given = fetch.OpenNeuro
	}
	if len(given) == 0 {
		return nil, nil
	}
	for flag, is := range map[string]bool{
		"dataset": c.IsSet("dataset") && os.Getenv("UNIHARMONYFS_DATASET") != d.Spec,
		"version": d.Version != "", "prefetch": c.Bool("prefetch"), "no-subdatasets": d.Levels() == 0,
	} {
		if is {
			return nil, usage("a folder of datasets is no dataset: --openneuro and --catalog exclude --"+flag, "another version of a dataset is there by name: DATASET@VERSION")
		}
	}
	d.Spec = ""
	for _, g := range given {
		s, err := spec(g)
		if err != nil {
			return nil, err
		}
		specs = append(specs, s)
	}
	return specs, nil
}

// gitEnvironment picks what git, ssh and proxies need of the caller's
// environment, and where DataLad looks for subdatasets: the daemon may have been started from another one.
func gitEnvironment(env []string) (picked []string) {
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		upper := strings.ToUpper(name)
		switch {
		case strings.HasSuffix(upper, "_PROXY"),
			strings.HasPrefix(name, "DATALAD_GET_SUBDATASET_"), name == "DATALAD_CONFIG_OVERRIDES_JSON",
			strings.HasPrefix(name, "GIT_SSH"), strings.HasPrefix(name, "GIT_SSL_"), strings.HasPrefix(name, "GIT_CONFIG_"), strings.HasPrefix(name, "GIT_HTTP_LOW_SPEED_"),
			name == "GIT_ASKPASS", name == "SSH_ASKPASS", name == "SSH_AUTH_SOCK", name == "SSL_CERT_FILE", name == "SSL_CERT_DIR":
			picked = append(picked, kv)
		}
	}
	return picked
}

func generalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "cache", Usage: "the cache is in `DIR` (default: uniharmonyfs in the user's cache directory)", EnvVars: []string{"UNIHARMONYFS_CACHE"}, Category: catGeneral},
		&cli.StringFlag{Name: "cache-name", Usage: "a cache of this `NAME` in the user's cache directory, instead of uniharmonyfs", Category: catGeneral},
		&cli.BoolFlag{Name: "json", Usage: "output and errors as JSON", Category: catGeneral},
		&cli.BoolFlag{Name: "json-progress", Usage: "progress as JSON on standard error, one object a line", Category: catGeneral},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no progress, no remarks", Category: catGeneral},
	}
}

// cacheDir reads --cache and --cache-name.
func cacheDir(c *cli.Context) (cachedir.Dir, error) {
	if name := c.String("cache-name"); name != "" {
		if c.IsSet("cache") && os.Getenv("UNIHARMONYFS_CACHE") != c.String("cache") {
			return "", usage("--cache and --cache-name exclude each other")
		}
		if strings.ContainsAny(name, "/\x00") || strings.HasPrefix(name, ".") {
			return "", usage(fmt.Sprintf("--cache-name %q is not a plain name", name))
		}
		return cachedir.Named(name)
	}
	if d := c.String("cache"); d != "" {
		abs, err := filepath.Abs(d)
		return cachedir.Dir(abs), err
	}
	return cachedir.Default()
}

// bytesFlag reads a size such as 20GiB.
func bytesFlag(c *cli.Context, name string) (int64, error) {
	s := c.String(name)
	if s == "" {
		return 0, nil
	}
	n, err := humanize.ParseBytes(s)
	if err != nil || n == 0 || n > 1<<60 {
		return 0, usage(fmt.Sprintf("--%s %s is not a size", name, s), "for example: --"+name+" 20GiB, or 500MB")
	}
	return int64(n), nil
}

func flags(groups ...[]cli.Flag) []cli.Flag { return slices.Concat(groups...) }
