package tree

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// A Builder collects the directories of one commit, parents first. It is for
// one goroutine and one [Tree].
type Builder struct {
	dirs    map[string]*dirRecord // by path
	forms   map[keyForm]uint32    // numbered from 1
	list    []keyForm             // list[0] is the odd form
	tails   map[string]uint32     // where the ends of names lie
	checked map[keyForm]int       // see decode
	text    arena
	total   int // nodes, the root included
	spent   bool
}

type dirRecord struct {
	names []node // in byte order
	added bool
}

// A node is one entry of the arrays. In the arena, at off, lies its name, and
// right after it a file's digest (its form's length), an odd key (one byte of
// length, text) or a link's target (two bytes of length, text).
//
// BIDS names repeat: those of a directory begin alike, and end like those of
// another. Such a name is told in two places: where its stem and its tail lie
// in the arena, each after one byte of length.
type node struct {
	off  uint32
	meta uint32 // bits 0-1 kind, 2-9 length of the name (0: in two places), 10-31 key form
	info uint64 // size in bytes; of a directory: first child << 32 | children
}

const (
	kindBits = 2
	nameBits = 8
	maxForms = 1 << (32 - kindBits - nameBits)

	placesLen = 8
	// maxTails bounds what names that do not repeat can cost.
	maxTails = 1 << 16
)

func (n node) kind() Kind     { return Kind(n.meta & (1<<kindBits - 1)) }
func (n node) nameLen() int   { return int(n.meta >> kindBits & (1<<nameBits - 1)) }
func (n node) inPlaces() bool { return n.nameLen() == 0 && n.kind() != Dir }
func (n node) form() int      { return int(n.meta >> (kindBits + nameBits)) }

// NewBuilder returns an empty Builder.
func NewBuilder() *Builder {
	return &Builder{
		dirs:    map[string]*dirRecord{"": {}},
		forms:   map[keyForm]uint32{},
		list:    make([]keyForm, 1),
		tails:   map[string]uint32{},
		checked: map[keyForm]int{},
		total:   1,
	}
}

// AddDir adds the directory at path ("" is the root, then "sub-01/anat") with
// all its entries, in any order. Its parent must have been added before, and
// every entry of Kind Dir must be added after it.
//
// It adds nothing and fails, naming the directory and the quoted name, on
// names that cannot be shown safely ([ErrUnsafe]: empty, ".", "..", any
// spelling of ".git", with a slash or control character, over 255 bytes), on
// two entries of one name or a directory added twice ([ErrDuplicate]), on
// entries without key or target ([ErrInvalid]), on a directory nobody
// promised ([ErrOrder]) and beyond the package's limits ([ErrTooLarge]).
// Everything else is a valid name: spaces, backslashes, any bytes over 0x7f.
func (b *Builder) AddDir(path string, entries []Entry) error {
	d, err := b.expect(path, len(entries))
	if err != nil {
		return err
	}
	recs := make([]record, len(entries))
	for i := range entries {
		err := entries[i].check()
		if err == nil {
			recs[i], err = newRecord(&entries[i])
		}
		if err != nil {
			return fmt.Errorf("directory %q, entry %q: %w", path, entries[i].Name, err)
		}
	}
	slices.SortFunc(recs, func(x, y record) int { return strings.Compare(x.name, y.name) })
	for i := 1; i < len(recs); i++ {
		if recs[i-1].name == recs[i].name {
			return fmt.Errorf("directory %q, entry %q: %w", path, recs[i].name, ErrDuplicate)
		}
	}
	return b.add(path, d, recs)
}

// AddEncoded adds the directory at path from what [Tree.EncodeDir] returned.
func (b *Builder) AddEncoded(path string, value []byte) error {
	recs, err := decode(value, b.checked)
	if err != nil {
		return fmt.Errorf("directory %q: %w", path, err)
	}
	d, err := b.expect(path, len(recs))
	if err != nil {
		return err
	}
	return b.add(path, d, recs)
}

// expect returns the promised directory at path that gets n entries now.
func (b *Builder) expect(path string, n int) (*dirRecord, error) {
	d := b.dirs[path]
	switch {
	case b.spent:
		return nil, fmt.Errorf("directory %q: %w: the tree was already taken", path, ErrOrder)
	case d == nil:
		return nil, fmt.Errorf("directory %q: %w", path, ErrOrder)
	case d.added:
		return nil, fmt.Errorf("directory %q: %w", path, ErrDuplicate)
	case n > maxNodes-b.total:
		return nil, fmt.Errorf("directory %q: %w: over %d files and directories", path, ErrTooLarge, maxNodes)
	}
	return d, nil
}

// add stores sorted, valid records as the content of d.
func (b *Builder) add(path string, d *dirRecord, recs []record) error {
	for i := range recs {
		if len(path)+1+len(recs[i].name) > maxPath {
			return fmt.Errorf("directory %.80q…, entry %q: %w: path over %d bytes", path, recs[i].name, ErrTooLarge, maxPath)
		}
	}
	names := make([]node, len(recs))
	var stem string
	var stemAt uint32
	for i := range recs {
		r, ok := &recs[i], true
		if r.kind != Dir && (stem == "" || !strings.HasPrefix(r.name, stem)) {
			if stem = commonStem(recs, i); stem != "" {
				stemAt, ok = b.string(stem)
			}
		}
		if ok {
			names[i], ok = b.put(r, stem, stemAt)
		}
		if !ok {
			return fmt.Errorf("directory %q, entry %q: %w: over 4 GiB of names and keys, or over %d kinds of keys", path, r.name, ErrTooLarge, maxForms)
		}
	}
	for i := range recs {
		if recs[i].kind == Dir {
			b.dirs[join(path, recs[i].name)] = &dirRecord{}
		}
	}
	d.names, d.added = names, true
	b.total += len(names)
	return nil
}

// commonStem returns what the name of recs[i] has in common with the last one,
// or else with the next, up to the last "_".
func commonStem(recs []record, i int) string {
	name := recs[i].name
	for _, other := range []int{len(recs) - 1, i + 1} {
		if other == len(recs) {
			continue
		}
		if end := strings.LastIndexByte(name[:shared(name, recs[other].name)], '_'); end >= 0 {
			return name[:end+1]
		}
	}
	return ""
}

// string writes a short string with its length.
func (b *Builder) string(s string) (off uint32, ok bool) {
	if off, ok = b.text.room(1 + len(s)); ok {
		b.text.cur.WriteByte(byte(len(s)))
		b.text.cur.WriteString(s)
	}
	return off, ok
}

// tail returns where the end of a name lies; ok is false when it is not worth
// while to keep it.
func (b *Builder) tail(s string) (off uint32, ok bool) {
	if off, ok := b.tails[s]; ok {
		return off, true
	}
	if len(b.tails) == maxTails {
		return 0, false
	}
	if off, ok = b.string(s); ok {
		b.tails[strings.Clone(s)] = off
	}
	return off, ok
}

// put writes one record into the arena. A file's name begins with stem, which
// lies at stemAt.
func (b *Builder) put(r *record, stem string, stemAt uint32) (n node, ok bool) {
	form := uint32(0)
	payload := r.digest
	var length []byte
	switch {
	case r.kind == Link:
		payload = r.target
		length = binary.BigEndian.AppendUint16(nil, uint16(len(payload)))
	case r.kind == Dir:
	case r.form.n > 0:
		if form = b.formNumber(r.form); form == maxForms {
			return n, false
		}
	default:
		length = []byte{byte(len(payload))} // a key has at most 255 bytes
	}
	name, nameLen := r.name, len(r.name)
	if r.kind != Dir && stem != "" && len(name) > placesLen {
		if at, ok := b.tail(name[len(stem):]); ok {
			places := binary.BigEndian.AppendUint32(nil, stemAt)
			name, nameLen = string(binary.BigEndian.AppendUint32(places, at)), 0
		}
	}
	off, ok := b.text.room(len(name) + len(length) + len(payload))
	b.text.cur.WriteString(name)
	b.text.cur.Write(length)
	b.text.cur.WriteString(payload)
	meta := uint32(r.kind) | uint32(nameLen)<<kindBits | form<<(kindBits+nameBits)
	return node{off: off, meta: meta, info: uint64(r.size)}, ok
}

// formNumber returns the number of f, maxForms when there are too many.
func (b *Builder) formNumber(f keyForm) uint32 {
	if n, ok := b.forms[f]; ok {
		return n
	}
	if len(b.list) == maxForms {
		return maxForms
	}
	f.backend, f.ext = strings.Clone(f.backend), strings.Clone(f.ext)
	n := uint32(len(b.list))
	b.list = append(b.list, f)
	b.forms[f] = n
	return n
}

// Tree returns the tree. It fails with [ErrMissing] when a directory that
// an entry promised, or the root, was not added. The Builder is spent then.
func (b *Builder) Tree() (*Tree, error) {
	if b.spent {
		return nil, fmt.Errorf("%w: the tree was already taken", ErrOrder)
	}
	s := &Tree{
		forms: b.list,
		nodes: make([]node, 1, b.total),
		dirs:  make([]uint32, 1, len(b.dirs)),
	}
	b.spent = true
	s.text = b.text.chunks()
	paths := []string{""}
	for i := 0; i < len(paths); i++ {
		path := paths[i]
		paths[i] = ""
		d := b.dirs[path]
		if !d.added {
			return nil, fmt.Errorf("directory %q: %w", path, ErrMissing)
		}
		first := len(s.nodes)
		s.nodes = append(s.nodes, d.names...)
		s.nodes[s.dirs[i]].info = uint64(first)<<32 | uint64(len(d.names))
		for j, n := range d.names {
			if n.kind() == Dir {
				s.dirs = append(s.dirs, uint32(first+j))
				paths = append(paths, join(path, s.Name(first+j)))
			}
		}
		delete(b.dirs, path)
	}
	b.dirs, b.forms, b.tails, b.checked = nil, nil, nil, nil
	return s, nil
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
