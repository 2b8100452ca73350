package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
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
		done := make(chan error, 1)
		go func() {
			done <- serve(ctx, options{files: files, size: "1K", rate: "1Gbit", remote: remote, name: "bench", sessions: 1, dir: t.TempDir()}, w)
		}()
		var said struct {
			Dataset, URL, Server, Commit string
			Files, Annexed               int
			Bytes                        int64
		}
		if err := json.NewDecoder(r).Decode(&said); err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, r)
		if _, err := os.Stat(filepath.Join(said.Dataset, "HEAD")); err != nil {
			t.Error(err)
		}
		if said.Annexed < files || files > 0 && said.Bytes != int64(said.Annexed)*1000 {
			t.Errorf("%s: %+v", remote, said)
		}
		tr := &http.Transport{DisableKeepAlives: true}
		resp, err := (&http.Client{Transport: tr}).Get(said.URL + "/info/refs?service=git-upload-pack")
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(err, resp)
		}
		resp.Body.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		w.Close()
	}
	if err := serve(t.Context(), options{remote: "ftp", dir: t.TempDir()}, io.Discard); err == nil {
		t.Error("a remote that does not exist was served")
	}
}
