package shelf

import "fmt"

// Audit returns what does not hold while nobody uses the shelf and no transfer is under
// way: for tests, and for whoever looks for a defect.
func (s *Shelf) Audit() (wrong []string) {
	tell := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	s.Do(func() {
		b := &s.books
		if b.reserved != 0 || b.unallocated != 0 || len(b.waiting) != 0 {
			tell("%d bytes are reserved, %d to be allocated, %d wait for room", b.reserved, b.unallocated, len(b.waiting))
		}
		var used, pinned int64
		for _, o := range s.objects {
			for _, i := range o.items() {
				used += i.blocks
				if s.pinned[o.Key] && i.kind != asideItem {
					pinned += i.blocks
				}
			}
			if len(o.users) > 0 || o.MayRevoke() || o.publishing != nil {
				tell("%s has %d users, %d revocations, publishing %v", o.Key, len(o.users), o.revocations.sum.Load(), o.publishing != nil)
			}
		}
		if used != b.used || pinned != b.pinned {
			tell("%d bytes are used, %d of them pinned; the books say %d and %d", used, pinned, b.used, b.pinned)
		}
		if s.defects > 0 {
			tell("a phase changed against the rules %d times", s.defects)
		}
	})
	return wrong
}
