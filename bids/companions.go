package bids

// rule says why a file is in the view.
type rule uint8

const (
	notShown    rule = iota
	rulePrimary      // it was asked for
	ruleRoot         // a file about the dataset as a whole
	ruleOutside      // outside the subject trees, asked for by a flag
	ruleTable        // lists what is shown
	ruleSidecar      // describes a shown file
)

// close adds companions until nothing is added.
func (sel *selector) close() {
	for len(sel.queue) > 0 {
		i := sel.queue[len(sel.queue)-1]
		sel.queue = sel.queue[:len(sel.queue)-1]
		if sel.whole {
			continue
		}
		f := sel.files[i]
		if f.place == subject {
			sel.addTables(i, f.dir)
		}
		if sel.shown[i].rule == ruleTable || sel.s.Companions != NoCompanions {
			sel.companions(i)
		}
	}
}

// addTables shows the scans and sessions tables of the subject and session
// that a file is in.
func (sel *selector) addTables(by, d int32) {
	for ; sel.dirs[d].place == subject && !sel.tables[d]; d = sel.dirs[d].parent {
		sel.tables[d] = true
		if sel.dirs[d].modality != 0 {
			continue
		}
		for _, g := range sel.filesIn(d) {
			if sel.isTable(&sel.files[g]) {
				sel.add(g, ruleTable, by)
			}
		}
	}
}

// companions adds what file i cannot do without, or is best seen with.
func (sel *selector) companions(i int32) {
	f := sel.files[i]
	if f.place != subject {
		return
	}
	if sel.words.text[f.ext] != ".json" {
		sel.applicable(i, f.suffix, ".json", ruleSidecar)
	}
}

// applicable adds the files that apply to file i by the inheritance principle:
// in its directory or above, with the suffix and extension, and no entity that
// differs from its own. extra are entities that may differ or be more.
func (sel *selector) applicable(i int32, suffix word, ext string, r rule, extra ...word) {
	e, ok := sel.words.find(ext)
	if !ok {
		return
	}
	f := sel.files[i]
	top := sel.dirs[f.dir].root
	for d := f.dir; ; d = sel.dirs[d].parent {
		for _, g := range sel.find(d, suffix, e) {
			if g != i && sel.applies(sel.files[g], f, extra) {
				sel.add(g, r, i)
			}
		}
		if d == top || d < 0 {
			return
		}
	}
}

// applies reports whether no entity of g is absent from f or differs there.
func (c *Catalog) applies(g, f file, extra []word) bool {
next:
	for _, p := range c.entities(g) {
		for _, k := range extra {
			if p.key == k {
				continue next
			}
		}
		if v := c.value(f, p.key); v != p.value && (v == 0 || !c.sameIndex(p.key, v, p.value)) {
			return false
		}
	}
	return true
}

// sameIndex reports whether two values of an index entity are the same number.
func (c *Catalog) sameIndex(key, a, b word) bool {
	return c.words.number[a] == c.words.number[b] && isIndex(c.words.text[key])
}
