package fetch

import (
	"errors"
	"testing"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/program"
	"github.com/uniharmony/uniharmonyfs/internal/gitstore"
	"github.com/uniharmony/uniharmonyfs/internal/gittest"
	"github.com/uniharmony/uniharmonyfs/internal/maker"
	"github.com/uniharmony/uniharmonyfs/internal/source/sourcetest"
)

// Nor does one of whoever is told of git's progress.
func TestPanicOfWhoIsToldOfProgress(t *testing.T) {
	_, m := dataset(t, maker.Web, 1, 10)
	spec, err := ParseSpec(m.Dir, "")
	if err != nil {
		t.Fatal(err)
	}
	w := &program.Words{Tell: func(Progress) { panic("x") }}
	w.Write([]byte("Receiving objects: 10% (1/10)\r"))
	h := NewHidden(t.TempDir() + "/ds")
	defer h.Close()
	c, err := h.Clone(t.Context(), spec, "", CloneOptions{Git: FindGit()})
	if err != nil {
		t.Fatal(err)
	}
	c.options.Git = "/nothing"
	c.hidden = &Hidden{} // a fault: nothing of it can work
	c.hidden.behind = map[gitstore.OID]bool{c.Commit: true}
	if err := c.WaitBranch(t.Context()); !errors.Is(err, program.ErrPanic) {
		t.Errorf("a fault while the branch comes gives %v", err)
	}
}

// The same with git-annex at work: who asks gets an error, and the next one is
// served.
func TestPanicWhileGitAnnexWorks(t *testing.T) {
	gittest.EachAnnex(t, func(t *testing.T) {
		_, m := dataset(t, maker.Web, 1, 300_000)
		r, _ := origin(t, m.Dir, OriginOptions{Fetcher: "annex"})
		s := annexOf(t, r, m.Files[0].Key)
		if err := s.Place(t.Context(), t.TempDir()+"/placed", func(int64) { panic("in the taker") }); err != nil {
			sourcetest.WantClass(t, err, true, "guard_test.go")
		}
		if err := place(t, t.Context(), s, &m.Files[0]); err != nil {
			t.Error(err)
		}
	})
}
