package cache

import "context"

// plan starts the requests for what is wished for and neither here nor under
// way. Callers hold mu.
func (t *transfer) plan() {
	if t.ended || t.closing || t.finishing || t.placing || t.loading || t.failed() {
		return
	}
	if err := t.open(); err != nil {
		t.giveUp(err)
		return
	}
	all := interval{0, t.o.size}
	if t.have.has(all) {
		if len(t.spans) == 0 {
			t.finishing = true
			t.c.work.Add(1)
			go t.finish()
		}
		return
	}
	if !t.wanted() {
		return
	}
	switch {
	case t.sources == nil:
		if len(t.demands) > 0 {
			t.use = t.demands[0].h.use
		}
		t.loading = true
		t.c.work.Add(1)
		go t.load(t.use)
	case t.at >= len(t.sources):
		t.giveUp(&FetchError{Key: t.o.key, Name: t.use.Name, Tried: t.tried})
	default:
		t.ask(all)
	}
}

// giveUp fails the transfer's demands. Callers hold mu, which fail needs.
func (t *transfer) giveUp(err error) {
	t.loading = true // until then, nothing is asked for
	t.c.work.Add(1)
	go func() {
		defer t.c.work.Done()
		t.fail(err)
		t.mu.Lock()
		t.loading = false
		t.plan() // for who came meanwhile
		t.mu.Unlock()
		t.maybeEnd()
	}()
}

// wanted reports whether anything is wished for that is not here. Callers hold
// mu.
func (t *transfer) wanted() bool {
	if len(t.demands) > 0 || t.complete || t.keep {
		return true
	}
	for _, w := range t.readers {
		if t.have.gap(interval{w.now.off, w.until}).len() > 0 {
			return true
		}
	}
	return false
}

// ask starts requests to the source in use. Callers hold mu.
func (t *transfer) ask(all interval) {
	if p, ok := t.sources[t.at].(Placer); ok {
		t.refuseSpare(func(*demand) bool { return true })
		if !t.wanted() {
			return
		}
		if len(t.spans) == 0 {
			t.placing = true
			var ctx context.Context
			ctx, t.unplace = context.WithCancel(t.ctx)
			t.c.work.Add(1)
			go t.place(ctx, p)
		}
		return
	}
	t.refuseSpare(func(d *demand) bool { return t.strict(d.h) })
	for _, d := range t.demands {
		if d.whole || t.strict(d.h) {
			t.claim(all, stepMost, d.class, true)
			continue
		}
		t.claim(d.now, stepMost, d.class, d.steady)
	}
	for h, w := range t.readers {
		t.claim(interval{w.now.off, w.until}, h.window.step(), ahead, w.steady)
	}
	if t.complete || t.keep {
		t.claim(all, stepMost, background, true)
	}
}

// claim starts requests for what is missing of an interval, none longer than
// step. Callers hold mu.
func (t *transfer) claim(i interval, step int64, as class, steady bool) {
	for _, s := range t.spans {
		if s.off < i.end && i.off < s.end {
			t.c.slots.promote(s.ticket, as)
		}
	}
	for as == demanded || len(t.spans) < lanes {
		gap := t.claimed.gap(i)
		if gap.len() == 0 || len(t.spans) >= 2*lanes {
			return
		}
		gap.end = min(gap.end, gap.off+step)
		t.claimed.add(gap)
		s := &span{interval: gap, t: t, at: t.at, steady: steady, part: t.part, ticket: &ticket{class: as, turn: make(chan struct{})}}
		s.pos.Store(gap.off)
		s.ctx, s.cancel = context.WithCancel(t.ctx)
		t.spans = append(t.spans, s)
		t.c.work.Add(1)
		go s.run(t.sources[t.at])
	}
}

// reclaim says anew what is here or under way. Callers hold mu.
func (t *transfer) reclaim() {
	t.claimed = append(ranges(nil), t.have...)
	for _, s := range t.spans {
		t.claimed.add(interval{s.pos.Load(), s.end})
	}
}

// load asks for the sources.
func (t *transfer) load(use Use) {
	defer t.c.work.Done()
	var list []Source
	var err error
	if use.Origin != nil {
		list, err = use.Origin.Sources(t.ctx, t.o.key)
	}
	if err != nil && len(list) == 0 {
		t.fail(err)
		list = nil
	} else if list == nil {
		list = []Source{}
	}
	t.mu.Lock()
	t.loading = false
	t.sources, t.at, t.again = list, 0, false
	t.plan()
	t.mu.Unlock()
	t.maybeEnd()
}
