package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBytes(t *testing.T) {
	for s, want := range map[string]int64{
		"": 0, "0": 0, "12": 12, "12B": 12, "4K": 4000, "4kB": 4000, "3.6MB": 3600_000, "1MiB": 1 << 20, "2GiB": 2 << 30,
		"400Mbit": 50_000_000, "8bit": 1,
	} {
		if got, err := bytes(s); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"x", "-1", "1X", "1KMB", "B", "1 K", "NaN", "1e30"} {
		if got, err := bytes(s); err == nil {
			t.Errorf("%q: %d", s, got)
		}
	}
}

// TestServe makes datasets of each kind and reads what is said of them.
func TestServe(t *testing.T) {
	for remote, files := range map[string]int{"versioned": 25, "export": 3, "web": 0} {
		ctx, cancel := context.WithCancel(t.Context())
		r, w := io.Pipe()
		in, say := io.Pipe()
		urls := filepath.Join(t.TempDir(), "urls")
		done := make(chan error, 1)
		go func() {
			done <- serve(ctx, options{files: files, size: "1K", rate: "1Gbit", remote: remote, name: "bench", sessions: 1, dir: t.TempDir(), urls: urls, listing: true}, in, w)
		}()
		var said struct {
			Dataset, URL, Server, Commit string
			Files, Annexed               int
			Bytes                        int64
		}
		answers := json.NewDecoder(r)
		if err := answers.Decode(&said); err != nil {
			t.Fatal(err)
		}
		listed, err := os.ReadFile(urls)
		if n := strings.Count(string(listed), "url = "); err != nil || n != said.Annexed {
			t.Errorf("%d URLs, %v", n, err)
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(string(listed), `url = "`), `"`)
		asked := fetch(t, first)
		if n := fetch(t, first[:strings.LastIndexByte(first, '/')+1]); n == 0 {
			t.Error("the page of links is empty")
		}
		var counts struct{ Requests, Bytes int }
		fmt.Fprintln(say, "counts")
		if err := answers.Decode(&counts); err != nil || counts.Requests != 2 || counts.Bytes <= asked {
			t.Errorf("%d bytes fetched, counted %+v, %v", asked, counts, err)
		}
		var link struct{ Rate int64 }
		fmt.Fprintln(say, "link 2ms 1Gbit")
		if err := answers.Decode(&link); err != nil || link.Rate != 125_000_000 {
			t.Errorf("%+v, %v", link, err)
		}
		var refused struct{ Error string }
		fmt.Fprintln(say, "link 2ms fast")
		if err := answers.Decode(&refused); err != nil || refused.Error == "" {
			t.Errorf("%+v, %v", refused, err)
		}
		var gone struct{ Gone string }
		fmt.Fprintln(say, "gone sub-01")
		if err := answers.Decode(&gone); err != nil || gone.Gone != "sub-01" {
			t.Errorf("%+v, %v", gone, err)
		}
		if resp, err := http.Get(first); err != nil || resp.StatusCode != 404 {
			t.Errorf("%s is there: %v, %v", first, resp, err)
		} else {
			resp.Body.Close()
		}
		http.DefaultClient.CloseIdleConnections()
		say.Close()
		if _, err := os.Stat(filepath.Join(said.Dataset, "HEAD")); err != nil {
			t.Error(err)
		}
		if said.Annexed < files || files > 0 && said.Bytes != int64(said.Annexed)*1000 {
			t.Errorf("%s: %+v", remote, said)
		}
		fetch(t, said.URL+"/info/refs?service=git-upload-pack")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		w.Close()
	}
	if err := serve(t.Context(), options{remote: "ftp", dir: t.TempDir()}, strings.NewReader(""), io.Discard); err == nil {
		t.Error("a remote that does not exist was served")
	}
}

// fetch returns how many bytes are at a URL.
func fetch(t *testing.T, url string) int {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: tr}).Get(url)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(err, resp)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}
