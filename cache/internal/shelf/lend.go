package shelf

import (
	"github.com/uniharmony/uniharmonyfs/cache/internal/disk"
	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// Lend returns which file under a key's name is known to match it; it counts as used now.
func (s *Shelf) Lend(key annex.Key) (id disk.ID, ok bool) {
	s.Do(func() {
		o := s.objects[key]
		if o == nil || o.phase != Present {
			return
		}
		id, ok = o.id, true
		s.touch(o)
		s.Settle(o)
	})
	return id, ok
}
