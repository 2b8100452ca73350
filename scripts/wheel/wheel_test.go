package main

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program builds some static program.
func program(t *testing.T, arch string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

func TestSameInputGivesTheSameBytes(t *testing.T) {
	o := options{version: "1.2.3", arch: "arm64", program: program(t, "arm64"), license: "../../LICENSE", source: "../../python", share: "testdata"}
	var wheels [2][]byte
	for i := range wheels {
		o.out = t.TempDir()
		if err := run(o); err != nil {
			t.Fatal(err)
		}
		// Another directory, with files of other dates.
		o.share = t.TempDir()
		if err := os.CopyFS(o.share, os.DirFS("testdata")); err != nil {
			t.Fatal(err)
		}
		var err error
		wheels[i], err = os.ReadFile(filepath.Join(o.out, "uniharmonyfs-1.2.3-py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64.whl"))
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(wheels[0], wheels[1]) {
		t.Error("two wheels of one input differ")
	}
}

// A wheel that says it runs anywhere must.
func TestProgramsThatDoNotRunAnywhereAreRefused(t *testing.T) {
	read := func(path string) []byte {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	shell := read("/bin/sh")
	f, err := elf.NewFile(bytes.NewReader(shell))
	if err != nil {
		t.Fatal(err)
	}
	arm := read(program(t, "arm64"))
	for _, c := range []struct {
		program []byte
		machine elf.Machine
		says    string
	}{
		{arm, elf.EM_AARCH64, ""},
		{arm, elf.EM_X86_64, "it is for"},
		{shell, f.Machine, "not static"},
		{[]byte(strings.Repeat("#!/bin/sh\n", 10)), elf.EM_X86_64, "bad magic"},
	} {
		err := checkStatic(c.program, c.machine)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, want %q", err, c.says)
		}
	}
}
