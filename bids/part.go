package bids

import (
	"bytes"
	"encoding/json"
	"path"
	"reflect"
	"slices"

	"github.com/uniharmony/uniharmonyfs/bids/internal/tsv"
	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// IsPart reports whether part is what a selection may have made of a table or
// JSON file of the dataset: some of its rows, or less in its IntendedFor.
func IsPart(name string, part, whole []byte) bool {
	switch path.Ext(name) {
	case ".tsv":
		return tsv.IsPart(part, whole)
	case ".json":
		return isPartOfJSON(part, whole)
	}
	return false
}

func isPartOfJSON(part, whole []byte) bool {
	fields := func(data []byte) (rest map[string]any, links []any, ok bool) {
		if json.Unmarshal(bytes.TrimPrefix(data, []byte(schema.BOM)), &rest) != nil {
			return nil, nil, false
		}
		switch l := rest["IntendedFor"].(type) {
		case []any:
			links = l
		case string:
			links = []any{l}
		}
		delete(rest, "IntendedFor")
		return rest, links, true
	}
	a, some, ok1 := fields(part)
	b, all, ok2 := fields(whole)
	if !ok1 || !ok2 || !reflect.DeepEqual(a, b) {
		return false
	}
	known := make(map[string]bool, len(all))
	for _, link := range all {
		known[asText(link)] = true
	}
	return !slices.ContainsFunc(some, func(link any) bool { return !known[asText(link)] })
}

// asText is the same for what is equal.
func asText(v any) string {
	text, _ := json.Marshal(v) // what was JSON can be
	return string(text)
}
