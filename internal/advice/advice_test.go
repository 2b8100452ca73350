package advice

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"testing"
)

// What happened crosses the control socket as words; where it was made, its cause
// can be asked for.
func TestErrorCrossesTheSocket(t *testing.T) {
	cause := &fs.PathError{Op: "open", Path: "/x", Err: fs.ErrPermission}
	e := New(Failed, "cannot do it", cause, "ask", "or give up")
	e.Reason = Ownership
	if !errors.Is(e, fs.ErrPermission) || e.Error() != "cannot do it: open /x: permission denied" {
		t.Errorf("%v", e)
	}
	wrapped := fmt.Errorf("later: %w", e)
	if found := new(Error); !errors.As(wrapped, &found) || found != e {
		t.Errorf("%v", found)
	}
	raw, err := json.Marshal(e)
	if want := `{"kind":"failed","what":"cannot do it","why":"open /x: permission denied","do":["ask","or give up"]}`; err != nil || string(raw) != want {
		t.Errorf("%s, %v", raw, err)
	}
	var got Error
	if err := json.Unmarshal(raw, &got); err != nil || got.Error() != e.Error() || got.Kind != Failed || !reflect.DeepEqual(got.Do, e.Do) {
		t.Errorf("%+v, %v", got, err)
	}
	if got.Unwrap() != nil || errors.Is(&got, fs.ErrPermission) {
		t.Error("its cause has crossed the socket")
	}
	bare := New(NoMatch, "nothing is there", nil)
	if bare.Error() != "nothing is there" || bare.Unwrap() != nil {
		t.Errorf("%v", bare)
	}
	if raw, err := json.Marshal(bare); err != nil || string(raw) != `{"kind":"no-match","what":"nothing is there"}` {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestList(t *testing.T) {
	for want, words := range map[string][]string{"": nil, "a": {"a"}, "a and b": {"a", "b"}, "a, b and c": {"a", "b", "c"}} {
		if got := List(words); got != want {
			t.Errorf("%q: %q", words, got)
		}
	}
}
