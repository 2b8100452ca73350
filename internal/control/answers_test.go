package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/internal/advice"
)

// ask sends each request whose answer has a result, and returns how it ended and
// what was told meanwhile.
func ask(ctx context.Context, c *Client) map[string]func() (told []string, err error) {
	each := func(do func(tell func(string)) error) func() ([]string, error) {
		return func() (told []string, err error) {
			err = do(func(s string) { told = append(told, s) })
			return told, err
		}
	}
	return map[string]func() ([]string, error){
		"/v1/list": each(func(tell func(string)) error {
			res, err := c.List(ctx, ListRequest{}, func(p Progress) { tell("progress " + p.Text) }, func(f File) error { tell("item " + f.Path); return nil })
			if err == nil {
				tell(fmt.Sprint("result ", res.Files))
			}
			return err
		}),
		"/v1/get": each(func(tell func(string)) error {
			res, err := c.Get(ctx, GetRequest{}, func(p Plan) error { tell("item " + p.Target); return nil }, func(p Progress) { tell("progress " + p.Text) })
			if err == nil {
				tell(fmt.Sprint("result ", res.Files))
			}
			return err
		}),
		"/v1/files": each(func(tell func(string)) error {
			res, err := c.Files(ctx, FilesRequest{}, func(p Progress) { tell("progress " + p.Text) })
			if err == nil {
				tell(fmt.Sprint("result ", res.Files))
			}
			return err
		}),
	}
}

// Whatever is told before the result reaches the caller, in order, also when
// nobody asked for progress.
func TestAnswersAreToldInOrder(t *testing.T) {
	answer := says(`{"progress":{"phase":"wait","done":0,"text":"a"}}
{"progress":{"phase":"get","done":1,"text":"b"}}
{"item":{"path":"x","target":"x"}}
{"item":{"path":"y","target":"y"}}
{"progress":{"phase":"get","done":2,"text":"c"}}
{"result":{"files":7}}
{"item":{"path":"after the end"}}
`)
	f := newFake(t, map[string]http.HandlerFunc{"POST /v1/list": answer, "POST /v1/get": answer, "POST /v1/files": answer})
	c := f.client()
	for path, do := range ask(t.Context(), c) {
		want := []string{"progress a", "progress b", "item x", "item y", "progress c", "result 7"}
		if path == "/v1/files" { // it has no items
			want = slices.DeleteFunc(want, func(s string) bool { return strings.HasPrefix(s, "item") })
		}
		if told, err := do(); err != nil || !slices.Equal(told, want) {
			t.Errorf("%s: told %q, %v; want %q", path, told, err, want)
		}
	}
	if res, err := c.List(t.Context(), ListRequest{}, nil, func(File) error { return nil }); err != nil || res.Files != 7 {
		t.Errorf("without progress: %+v, %v", res, err)
	}
}

// An answer that is none is never taken for a success.
func TestAnswersThatAreNone(t *testing.T) {
	for name, c := range map[string]struct{ answer, want string }{
		"nothing":              {"", "the daemon is gone"},
		"no result":            {`{"progress":{"phase":"get","done":1}}` + "\n", "the daemon is gone"},
		"half a line":          {`{"result":{"fil`, "the daemon is gone"},
		"no JSON":              {"<html>\n", "not understood"},
		"another JSON":         {"[1]\n", "not understood"},
		"progress and result":  {`{"progress":{"phase":"get","done":1},"result":{"files":7}}` + "\n", "not understood"},
		"item and result":      {`{"item":{"path":"x"},"result":{"files":7}}` + "\n", "not understood"},
		"fault and result":     {`{"fault":{"kind":"failed","what":"broken"},"result":{"files":7}}` + "\n", "not understood"},
		"progress and item":    {`{"progress":{"phase":"get","done":1},"item":{"path":"x"}}` + "\n" + `{"result":{}}` + "\n", "not understood"},
		"a result of nothing":  {`{"result":null}` + "\n", "not understood"},
		"a result of another":  {`{"result":[1]}` + "\n", "not understood"},
		"a fault":              {`{"fault":{"kind":"no-space","what":"full","why":"a disk","do":["clean"]}}` + "\n", "full: a disk"},
		"a fault after others": {`{"progress":{"phase":"get","done":1}}` + "\n" + `{"fault":{"kind":"no-space","what":"full","why":"a disk"}}` + "\n", "full: a disk"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, map[string]http.HandlerFunc{"POST /v1/list": says(c.answer), "POST /v1/get": says(c.answer), "POST /v1/files": says(c.answer)})
			for path, do := range ask(t.Context(), f.client()) {
				told, err := do()
				var a *advice.Error
				if !errors.As(err, &a) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: told %q, error %v, want %q", path, told, err, c.want)
					continue
				}
				if wantKind := map[bool]advice.Kind{true: advice.NoSpace, false: advice.Failed}[strings.HasPrefix(name, "a fault")]; a.Kind != wantKind {
					t.Errorf("%s: kind %s, want %s", path, a.Kind, wantKind)
				}
			}
		})
	}
}

// A later daemon may tell what this client does not know.
func TestLinesOfALaterVersionArePassedOver(t *testing.T) {
	f := newFake(t, map[string]http.HandlerFunc{"POST /v1/list": says(`{"weather":"fine"}` + "\n" + `{"result":{"files":7,"more":1}}` + "\n")})
	if res, err := f.client().List(t.Context(), ListRequest{}, nil, nil); err != nil || res.Files != 7 {
		t.Errorf("%+v, %v", res, err)
	}
}

// What the caller refuses ends the request, with the caller's error.
func TestCallersErrorEndsTheRequest(t *testing.T) {
	ended := make(chan struct{})
	endless := func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		for r.Context().Err() == nil {
			io.WriteString(w, `{"item":{"path":"x"}}`+"\n")
			http.NewResponseController(w).Flush()
		}
	}
	f := newFake(t, map[string]http.HandlerFunc{"POST /v1/list": endless})
	enough := errors.New("enough")
	if _, err := f.client().List(t.Context(), ListRequest{}, nil, func(File) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("error %v", err)
	}
	<-ended
}

// Who is interrupted is told so, whatever the connection says of it.
func TestInterrupted(t *testing.T) {
	began := make(chan struct{}, 1)
	silent := func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		began <- struct{}{}
		<-r.Context().Done()
	}
	f := newFake(t, map[string]http.HandlerFunc{"POST /v1/files": silent})
	c := f.client()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; cancel() }()
	var a *advice.Error
	if _, err := c.Files(ctx, FilesRequest{}, nil); !errors.As(err, &a) || a.Kind != advice.Interrupted {
		t.Errorf("error %v", err)
	}
	if _, err := c.Files(ctx, FilesRequest{}, nil); !errors.As(err, &a) || a.Kind != advice.Interrupted {
		t.Errorf("interrupted before: %v", err)
	}
}

// Names of files are bytes: what comes beside them says exactly which.
func TestNamesInAnswersAreExact(t *testing.T) {
	name := "sub-01/a\xff\xfe"
	file := File{Path: name, Exact: Exact(name), Size: 3, State: "git"}
	failed := []FileFailed{{Path: name, Why: "x"}, {Path: "plain", Why: "y"}}
	f := newFake(t, map[string]http.HandlerFunc{
		"POST /v1/list":   tells(t, Event{Item: raw(t, file)}, Event{Result: raw(t, ListResult{Files: 1})}),
		"POST /v1/status": tells(t, Event{Result: raw(t, Status{Paths: []PathStatus{{File: file, Mount: "/m"}, {File: File{Path: "plain"}}}})}),
		"POST /v1/files":  tells(t, Event{Result: raw(t, FilesResult{Failed: failed})}),
		"POST /v1/get":    tells(t, Event{Result: raw(t, GetResult{Failed: failed})}),
	})
	c := f.client()
	var got []string
	if _, err := c.List(t.Context(), ListRequest{}, nil, func(f File) error { got = append(got, f.Path); return nil }); err != nil {
		t.Error(err)
	}
	s, err := c.Status(t.Context(), StatusRequest{})
	if err != nil {
		t.Error(err)
	}
	for _, p := range s.Paths {
		got = append(got, p.Path)
	}
	files, err := c.Files(t.Context(), FilesRequest{}, nil)
	if err != nil {
		t.Error(err)
	}
	res, err := c.Get(t.Context(), GetRequest{}, nil, nil)
	if err != nil {
		t.Error(err)
	}
	for _, f := range slices.Concat(files.Failed, res.Failed) {
		got = append(got, f.Path)
	}
	if want := []string{name, name, "plain", name, "plain", name, "plain"}; !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
}
