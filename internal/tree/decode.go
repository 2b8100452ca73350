package tree

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"strconv"
	"strings"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// decode takes apart what EncodeDir wrote, and refuses everything else, down to
// a flipped bit, with [ErrDamaged]. checked is what [decoder.newForm]
// found out of key forms before: directories have much the same.
func decode(value []byte, checked map[keyForm]int) ([]record, error) {
	if len(value) < 6 || value[0] != recordVersion {
		return nil, fmt.Errorf("%w: not version %d", ErrDamaged, recordVersion)
	}
	body, sum := value[:len(value)-4], binary.BigEndian.Uint32(value[len(value)-4:])
	if crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) != sum {
		return nil, fmt.Errorf("%w: wrong checksum", ErrDamaged)
	}
	d := decoder{in: string(body[1:]), forms: make([]keyForm, 1), overhead: make([]int, 1), known: map[keyForm]bool{}, checked: checked}
	count := d.num(math.MaxInt32)
	if d.bad != "" || count > uint64(len(d.in))/3 { // an entry has at least 3 bytes: bounds what is allocated
		return nil, fmt.Errorf("%w: too short", ErrDamaged)
	}
	recs := make([]record, 0, count)
	for range count {
		r := d.record()
		if d.bad != "" {
			return nil, fmt.Errorf("%w: entry %d: %s", ErrDamaged, len(recs), d.bad)
		}
		recs = append(recs, r)
	}
	if d.in != "" {
		return nil, fmt.Errorf("%w: something follows the last entry", ErrDamaged)
	}
	return recs, nil
}

// A decoder takes apart in; bad says what was wrong first.
type decoder struct {
	in    string
	bad   string
	prev  string
	any   bool // an entry came before
	forms []keyForm
	known map[keyForm]bool // in this directory
	// overhead is what a form's key is longer than its size's digits, as a
	// file name, in bytes.
	overhead []int
	checked  map[keyForm]int // of all forms that were found good
}

func (d *decoder) fail(why string) {
	if d.bad == "" {
		d.bad = why
	}
	d.in = ""
}

// num reads a minimal uvarint of at most limit.
func (d *decoder) num(limit uint64) uint64 {
	v, shift := uint64(0), 0
	for i := 0; i < len(d.in) && i < binary.MaxVarintLen64; i++ {
		c := d.in[i]
		v |= uint64(c&0x7f) << shift
		shift += 7
		if c >= 0x80 {
			continue
		}
		if v > limit || c == 0 && i > 0 || i == binary.MaxVarintLen64-1 && c > 1 {
			break
		}
		d.in = d.in[i+1:]
		return v
	}
	d.fail("bad number")
	return 0
}

func (d *decoder) bytes(n uint64) string {
	if n > uint64(len(d.in)) {
		d.fail("too short")
		return ""
	}
	s := d.in[:n]
	d.in = d.in[n:]
	return s
}

func (d *decoder) str(limit uint64) string { return d.bytes(d.num(limit)) }

func (d *decoder) record() record {
	same := d.num(uint64(len(d.prev)))
	rest := d.str(maxName)
	r := record{name: rest}
	if same > 0 {
		r.name = d.prev[:same] + rest
	}
	switch {
	case d.bad != "":
		return r
	case d.any && r.name <= d.prev, shared(d.prev, r.name) != int(same):
		d.fail("names are not in order")
		return r
	}
	if why := unsafeName(r.name); why != "" {
		d.fail("unsafe name: " + why)
		return r
	}
	d.prev, d.any = r.name, true
	if kind := d.bytes(1); d.bad == "" {
		r.kind = Kind(kind[0])
		d.payload(&r)
	}
	return r
}

func (d *decoder) payload(r *record) {
	switch r.kind {
	case Dir:
	case Link:
		e := Entry{Name: r.name, Kind: Link, Target: d.str(maxTarget)}
		if d.bad == "" && e.check() != nil {
			d.fail("bad link target")
		}
		r.target, r.size = e.Target, int64(len(e.Target))
	case Annexed, Git:
		r.size = int64(d.num(maxSize))
		d.key(r)
	default:
		d.fail("unknown kind")
	}
}

func (d *decoder) key(r *record) {
	form := d.num(uint64(len(d.forms)))
	if form == 0 && d.bad == "" {
		d.oddKey(r)
		return
	}
	isNew := form == uint64(len(d.forms))
	if isNew {
		f := keyForm{backend: d.str(maxName), ext: d.str(maxName), n: uint8(d.num(maxDigest))}
		d.forms = append(d.forms, f)
	}
	if d.bad != "" {
		return
	}
	r.form = d.forms[form]
	r.digest = d.bytes(uint64(r.form.n))
	if d.bad == "" && isNew {
		d.newForm(r)
	}
	if d.bad == "" && d.overhead[form]+len(strconv.FormatInt(r.size, 10)) > maxName {
		d.fail("a key that is too long")
	}
}

func (d *decoder) oddKey(r *record) {
	r.digest = d.str(maxName)
	k, err := annex.ParseKey(r.digest)
	if err != nil {
		d.fail("bad key")
	} else if _, _, regular := splitKey(k, r.size); regular {
		d.fail("a key that is not odd")
	}
}

// newForm fails when the form of r, the first that has it, is not what
// splitKey would have made of its key. The digest and the size do not matter
// to that, but for the key's length: so one check serves all keys of a form.
func (d *decoder) newForm(r *record) {
	if d.known[r.form] {
		d.fail("bad key form")
		return
	}
	d.known[r.form] = true
	overhead, ok := d.checked[r.form]
	if !ok {
		k, err := annex.ParseKey(r.form.text(r.digest, 0))
		if err != nil {
			d.fail("bad key")
			return
		}
		if f, _, ok := splitKey(k, 0); !ok || f != r.form {
			d.fail("bad key form")
			return
		}
		overhead = len(k.FileName()) - 1
		f := r.form
		f.backend, f.ext = strings.Clone(f.backend), strings.Clone(f.ext)
		d.checked[f] = overhead
	}
	d.overhead = append(d.overhead, overhead)
}
