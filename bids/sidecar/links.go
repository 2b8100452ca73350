package sidecar

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"

	"github.com/uniharmony/uniharmonyfs/bids/internal/tsv"
	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

// Links are what one file says of others: the fields of a JSON sidecar, or the
// stimuli that a table presents. Most files have none.
type Links struct {
	IntendedFor         []string
	B0FieldSource       []string
	B0FieldIdentifier   []string
	AssociatedEmptyRoom []string
	Stimuli             []string
}

// linksFormat changes when Encode or what is taken for a link does.
const linksFormat = '3'

// lists are the links by field, in the order in which they are encoded.
func (l *Links) lists() [5]*[]string {
	return [...]*[]string{&l.IntendedFor, &l.B0FieldSource, &l.B0FieldIdentifier, &l.AssociatedEmptyRoom, &l.Stimuli}
}

// Encode returns the links in a form that [Decode] reads: of each field the
// number of strings, and each string after its length. They may be any bytes.
func (l Links) Encode() []byte {
	out := []byte{linksFormat}
	for _, list := range l.lists() {
		if len(*list) == 0 {
			continue
		}
		for _, list := range l.lists() {
			out = binary.AppendUvarint(out, uint64(len(*list)))
			for _, s := range *list {
				out = append(binary.AppendUvarint(out, uint64(len(s))), s...)
			}
		}
		return out
	}
	return out // most files have none
}

var errLinks = errors.New("damaged links, or of another format")

// Decode reads what Encode wrote. The error says that it was damaged, or
// written in another format.
func Decode(data []byte) (l Links, err error) {
	if len(data) == 0 || data[0] != linksFormat {
		return l, errLinks
	}
	if data = data[1:]; len(data) == 0 {
		return l, nil
	}
	number := func() int {
		n, used := binary.Uvarint(data)
		if used <= 0 || n > uint64(len(data)-used) { // each string has a length
			err = errLinks
			return 0
		}
		data = data[used:]
		return int(n)
	}
	for _, list := range l.lists() {
		for range number() {
			n := number()
			if err != nil {
				return Links{}, err
			}
			*list = append(*list, string(data[:n]))
			data = data[n:]
		}
	}
	if err != nil || len(data) > 0 {
		return Links{}, errLinks
	}
	return l, nil
}

// Of returns the links of a JSON sidecar. One that is no JSON has none.
func Of(data []byte) (l Links) {
	if !hasLinks(data) {
		return l
	}
	var fields struct {
		IntendedFor, B0FieldSource, B0FieldIdentifier, AssociatedEmptyRoom oneOrMany
	}
	if json.Unmarshal(bytes.TrimPrefix(data, []byte(schema.BOM)), &fields) == nil {
		l.IntendedFor, l.B0FieldSource = fields.IntendedFor, fields.B0FieldSource
		l.B0FieldIdentifier, l.AssociatedEmptyRoom = fields.B0FieldIdentifier, fields.AssociatedEmptyRoom
	}
	return l
}

// hasLinks spares parsing the many files that have none.
func hasLinks(data []byte) bool {
	for _, field := range [...]string{"IntendedFor", "B0Field", "AssociatedEmptyRoom"} {
		if bytes.Contains(data, []byte(field)) {
			return true
		}
	}
	return false
}

// oneOrMany is a string or a list of strings. Anything else is none.
type oneOrMany []string

func (o *oneOrMany) UnmarshalJSON(data []byte) error {
	*o = nil // of a key that is there twice the last counts
	if string(data) == "null" {
		return nil
	}
	var one string
	if json.Unmarshal(data, &one) == nil {
		*o = oneOrMany{one}
		return nil
	}
	var many []any
	if json.Unmarshal(data, &many) == nil {
		for _, v := range many {
			if s, ok := v.(string); ok {
				*o = append(*o, s)
			}
		}
	}
	return nil
}

// OfTable returns the links of a table: the files that it presents, each once.
func OfTable(data []byte) (l Links) {
	t := tsv.Parse(data)
	col := t.Column("stim_file")
	if col < 0 {
		return l
	}
	seen := make(map[string]bool)
	for _, row := range t.Rows {
		if v := row.Cell(col); v != "" && v != "n/a" && !seen[v] {
			seen[v] = true
			l.Stimuli = append(l.Stimuli, v)
		}
	}
	l.Stimuli = slices.Clip(l.Stimuli)
	return l
}
