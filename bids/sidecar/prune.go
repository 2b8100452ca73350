package sidecar

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"

	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// span is a part of a JSON text: from, up to but not including to.
type span struct{ from, to int }

// Prune removes the strings that keep rejects from the values of a key of
// the object, and the key when nothing is left. All other bytes stay. What is
// no JSON object comes back as it is.
func Prune(data []byte, key string, keep func(string) bool) []byte {
	start := 0
	if bytes.HasPrefix(data, []byte(schema.BOM)) {
		start = len(schema.BOM)
	}
	if !json.Valid(data[start:]) {
		return data
	}
	at := skipSpace(data, start)
	if data[at] != '{' {
		return data
	}
	members := elements(data, at)
	dropped := make([]bool, len(members))
	inner := make([][]span, len(members))
	found, lastGone := false, false
	for n := len(members) - 1; n >= 0; n-- {
		if k, value := member(data, members[n]); k == key {
			gaps, gone := pruneValue(data, value, keep)
			// Of a key that is there twice the last counts: when that goes, the
			// others must not come to count.
			lastGone = lastGone || !found && gone
			dropped[n], inner[n] = lastGone || gone, gaps
			found = true
		}
	}
	var all []span
	outer := gaps(members, dropped)
	for n, list := range inner {
		for len(outer) > 0 && outer[0].from < members[n].from {
			all, outer = append(all, outer[0]), outer[1:]
		}
		if !dropped[n] {
			all = append(all, list...)
		}
	}
	return cutOut(data, append(all, outer...))
}

// pruneValue returns what to take out of one value, a string or a list. gone:
// nothing is left of it.
func pruneValue(data []byte, value span, keep func(string) bool) (take []span, gone bool) {
	text := data[value.from:value.to]
	rejected := func(element []byte) bool {
		var s string
		return len(element) > 0 && element[0] == '"' && json.Unmarshal(element, &s) == nil && !keep(s)
	}
	switch text[0] {
	case '"':
		return nil, rejected(text)
	case '[':
		list := elements(data, value.from)
		dropped := make([]bool, len(list))
		n := 0
		for k, e := range list {
			if dropped[k] = rejected(data[e.from:e.to]); dropped[k] {
				n++
			}
		}
		return gaps(list, dropped), n > 0 && n == len(list)
	}
	return nil, false
}

// gaps returns the elements that are dropped, in order, with the commas that
// separated them.
func gaps(list []span, dropped []bool) (take []span) {
	for k := 0; k < len(list); k++ {
		if !dropped[k] {
			continue
		}
		first := k
		for k+1 < len(list) && dropped[k+1] {
			k++
		}
		switch {
		case k+1 < len(list): // up to the next that stays
			take = append(take, span{list[first].from, list[k+1].from})
		case first > 0: // from the last that stays
			take = append(take, span{list[first-1].to, list[k].to})
		default:
			take = append(take, span{list[first].from, list[k].to})
		}
	}
	return take
}

// cutOut returns data without the spans, which are in order.
func cutOut(data []byte, take []span) []byte {
	if len(take) == 0 {
		return data
	}
	out := make([]byte, 0, len(data))
	from := 0
	for _, t := range take {
		out = append(out, data[from:t.from]...)
		from = t.to
	}
	return append(out, data[from:]...)
}

// elements returns the members of the object or elements of the list at an
// offset of valid JSON.
func elements(data []byte, at int) (list []span) {
	at = skipSpace(data, at+1)
	for data[at] != '}' && data[at] != ']' {
		from, end := at, at
		for depth := 0; ; {
			c := data[at]
			switch {
			case c == '"':
				at = skipString(data, at)
				end = at
				continue
			case c == '{' || c == '[':
				depth++
			case depth == 0 && (c == ',' || c == '}' || c == ']'):
				list = append(list, span{from, end})
				if c == ',' {
					at = skipSpace(data, at+1)
				}
				goto next
			case c == '}' || c == ']':
				depth--
			}
			at++
			if !isSpace(c) {
				end = at
			}
		}
	next:
	}
	return list
}

// member splits a member of an object into its key and the span of its value.
func member(data []byte, m span) (key string, value span) {
	end := skipString(data, m.from)
	if json.Unmarshal(data[m.from:end], &key) != nil {
		return "", span{}
	}
	colon := skipSpace(data, end)
	return key, span{skipSpace(data, colon+1), m.to}
}

// skipString returns the offset after the string at an offset.
func skipString(data []byte, at int) int {
	for at++; data[at] != '"'; at++ {
		if data[at] == '\\' {
			at++
		}
	}
	return at + 1
}

func skipSpace(data []byte, at int) int {
	for at < len(data) && isSpace(data[at]) {
		at++
	}
	return at
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func IsPart(part, whole []byte) bool {
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
