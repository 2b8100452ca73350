package mount

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/control"
	"github.com/uniharmony/uniharmonyfs/internal/publisher"
)

// A path leads to the files at or below it, of all parts that somebody has looked into.
func TestFind(t *testing.T) {
	r := newRig(t, 0)
	m := r.mount(r.request(r.nested()))
	find := func(rel string) ([]string, error) {
		found, err := m.Find(strings.TrimSuffix("/mnt/x/"+rel, "/"))
		var all []string
		for _, in := range found {
			for _, n := range in.Nodes {
				all = append(all, in.pathOf(n))
			}
		}
		return all, err
	}
	is := func(rel string, want ...string) {
		t.Helper()
		if got, err := find(rel); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v", rel, got, err)
		}
	}
	fails := func(rel, what string) {
		t.Helper()
		if got, err := find(rel); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%q: %q, %v", rel, got, err)
		}
	}
	borders := func(rel string, want ...string) {
		t.Helper()
		var got []string
		for _, s := range m.NotEntered(strings.TrimSuffix("/mnt/x/"+rel, "/")) {
			if s.State != control.Subdataset || s.Mount != "/mnt/x" {
				t.Errorf("%+v", s)
			}
			path := s.Path
			if len(s.Errors) > 0 {
				path += " failed"
			}
			got = append(got, path)
		}
		if !slices.Equal(got, want) {
			t.Errorf("below %q nobody has looked into %q", rel, got)
		}
	}
	is("", "README", image(1), image(2))
	is("sub-01", image(1))
	is("sub-01/anat", image(1))
	is(image(2), image(2))
	fails("inner", "nobody has looked into")
	fails("inner/README", "nobody has looked into")
	fails("sub-03", "not in the mount")
	fails("sub-0", "not in the mount")
	fails("README/x", "not in the mount")
	borders("")
	borders("inner/README", "inner")
	borders("inner", "inner")
	borders("deep")
	borders("sub-01")

	inner := r.within(m.Part, "inner")
	is("inner", "inner/README", "inner/"+image(1), "inner/"+image(2))
	is("inner/sub-02", "inner/"+image(2))
	fails("inner/deeper", "nobody has looked into")
	fails("inner/deeper/README", "nobody has looked into")
	fails("inner/sub-09", "not in the mount")
	fails("innermost", "not in the mount")
	borders("inner")
	borders("inner/deeper/x", "inner/deeper")
	r.within(inner, "deeper")
	is("inner/deeper", "inner/deeper/README", "inner/deeper/"+image(1))
	is("inner/deeper/"+image(1), "inner/deeper/"+image(1))
	is("inner", "inner/README", "inner/"+image(1), "inner/"+image(2), "inner/deeper/README", "inner/deeper/"+image(1))
	if all, err := find(""); err != nil || len(all) != 8 {
		t.Errorf("of the whole mount: %q, %v", all, err)
	}

	if _, err := m.Enter(t.Context(), m.at(t, "gone")); err == nil {
		t.Error("what is nowhere can be looked into")
	}
	borders("", "gone failed")
	borders("gone/x/y", "gone failed")
	borders("inner")
	fails("gone/README", "gone.git")
}

// A mount tells of the failures of its own datasets, those that were looked into too.
func TestErrorsOfAMount(t *testing.T) {
	r := newRig(t, 0)
	req := r.request(r.nested())
	none := time.Duration(0)
	req.Patience = &none
	m := r.mount(req)
	other := r.mount(r.request(r.publish(images("other", 3, 5000))))
	inner := r.within(m.Part, "inner")
	r.server.SetFault(publisher.Always(publisher.Status(404, 0)))
	for p, path := range map[*Part]string{inner: image(2), other.Part: image(3)} {
		use, err := p.Use(p.at(t, path))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Cache.Cache.Fetch(t.Context(), p.version.Key(p.at(t, path)), use); err == nil {
			t.Errorf("%s comes from nowhere", path)
		}
	}
	said, err := m.Read("errors")
	if err != nil || !strings.Contains(string(said), "inner/"+image(2)) || strings.Contains(string(said), image(3)) {
		t.Errorf("its errors are\n%s%v", said, err)
	}
	all := r.Cache.Cache.Status().Errors
	if ps := inner.Describe(inner.at(t, image(2)), all); ps.Path != "inner/"+image(2) || ps.Mount != req.Target || len(ps.Errors) == 0 || ps.State != control.Missing {
		t.Errorf("%+v", ps)
	}
	if ps := inner.Describe(inner.at(t, image(1)), all); len(ps.Errors) > 0 {
		t.Errorf("of another file: %+v", ps)
	}
}
