package filter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// ParseFile reads a BIDS filter file as fMRIPrep and others take it
// (--bids-filter-file): an object of queries, each an object of pybids' filters
// and values. What one of the queries selects is selected. Within a query
//
//   - the names are those of pybids (subject, acquisition, datatype …) or the
//     short ones,
//   - null and "Query.NONE" are the absence of an entity, "Query.ANY" its
//     presence, "Query.OPTIONAL" and the empty list no constraint,
//   - the queries that fMRIPrep knows (bold, sbref, fmap, flair, t1w, t2w, roi,
//     dwi, asl, pet) begin with its own filters: images of a datatype and
//     suffix, and of those with a part- only the magnitude.
//
// The error is a *UsageError.
func ParseFile(data []byte) ([]Query, error) {
	var file map[string]map[string]any
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, []byte(schema.BOM))))
	dec.UseNumber()
	if err := dec.Decode(&file); err != nil {
		return nil, filterError("", fmt.Sprintf("is not an object of queries (%v)", err), `an example: {"bold": {"task": "rest"}}`)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, filterError("", "goes on after its end", "leave one object of queries in it")
	}
	if len(file) == 0 {
		return nil, filterError("", "has no query", `an example: {"bold": {"task": "rest"}}`)
	}
	var queries []Query
	for _, name := range slices.Sorted(maps.Keys(file)) {
		q, err := filterQuery(name, file[name])
		if err != nil {
			return nil, err
		}
		queries = append(queries, q)
	}
	return queries, nil
}

func filterError(where, why, do string) error {
	return &UsageError{Dimension: "bids-filter-file", Value: where, Why: why, Do: do}
}

func filterQuery(name string, filters map[string]any) (Query, error) {
	q := knownQuery(name)
	q.Name = name
	given := make(map[string]string) // by our name
	for _, filter := range slices.Sorted(maps.Keys(filters)) {
		values, err := filterValues(filters[filter])
		if err != nil {
			return q, filterError(name+"."+filter, err.Error(), "give a string, a number, null, or a list of these")
		}
		key := filterKey(filter)
		if other, twice := given[key]; twice && key != "" {
			return q, filterError(name+"."+filter, "is another name of "+other, "give one of them")
		}
		given[key] = filter
		switch key {
		case "":
			return q, filterError(name+"."+filter, "is no filter of BIDS", "nearest: "+strings.Join(Nearest(filter, filterNames()), ", "))
		case Datatype:
			q.Datatype = values
		case Suffix:
			q.Suffix = values
		case Extension:
			q.Ext = values
		default:
			q.Entities[key] = values
		}
	}
	return q, q.Validate()
}

// knownQuery is what a query of fMRIPrep's begins with.
func knownQuery(name string) Query {
	image := func(datatype, suffix string) Query {
		q := Query{Entities: make(map[string][]string), Ext: []string{".nii", ".nii.gz"}}
		if datatype != "" {
			q.Datatype = []string{datatype}
		}
		if suffix != "" {
			q.Suffix = []string{suffix}
		}
		return q
	}
	magnitude := func(q Query) Query {
		q.Entities["part"] = []string{"mag", None}
		return q
	}
	switch name {
	case "bold", "sbref":
		return magnitude(image("func", name))
	case "flair":
		return magnitude(image("anat", "FLAIR"))
	case "t1w", "t2w":
		return magnitude(image("anat", "T"+name[1:2]+"w"))
	case "roi":
		return image("anat", "roi")
	case "fmap":
		return image("fmap", "")
	case "dwi", "pet":
		return image("", name)
	case "asl":
		return image("perf", "asl")
	}
	return Query{Entities: make(map[string][]string)}
}

// filterKey returns our name of a filter of pybids, "" for none.
func filterKey(filter string) string {
	switch filter {
	case "datatype":
		return Datatype
	case "suffix":
		return Suffix
	case "extension":
		return Extension
	case "modality":
		return "mod" // pybids' modality is the entity mod-
	case "staining":
		return "stain"
	}
	if e, known := schema.FindEntity(filter); known {
		return e.Short
	}
	return ""
}

func filterNames() []string {
	names := []string{"datatype", "suffix", "extension"}
	for _, e := range schema.Entities {
		names = append(names, e.Long)
	}
	return names
}

// filterValues returns the values of one filter; nil is no constraint.
func filterValues(v any) ([]string, error) {
	one, isList := []any{v}, false
	if l, ok := v.([]any); ok {
		one, isList = l, true
	}
	var values []string
	for _, v := range one {
		switch v := v.(type) {
		case nil:
			values = append(values, None)
		case json.Number:
			values = append(values, v.String())
		case bool:
			values = append(values, strconv.FormatBool(v))
		case string:
			switch v {
			case "Query.NONE", "<Query.NONE: 1>":
				v = None
			case "Query.ANY", "Query.REQUIRED", "<Query.ANY: 2>":
				v = Any
			case "Query.OPTIONAL", "<Query.OPTIONAL: 3>", "*":
				if !isList {
					return nil, nil
				}
			}
			values = append(values, v)
		default:
			return nil, fmt.Errorf("is an object")
		}
	}
	if slices.Contains(values, None) && slices.Contains(values, Any) {
		return nil, nil
	}
	return values, nil
}
