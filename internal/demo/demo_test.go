package demo

import "testing"

func TestDemoDatasetIsSmall(t *testing.T) {
	dir := t.TempDir()
	d, err := Start(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Bytes > 700_000 || d.Annexed < 20 || d.Files <= d.Annexed {
		t.Errorf("%d files, %d annexed, %d bytes", d.Files, d.Annexed, d.Bytes)
	}
	if f := d.made.Find(d.Image); f == nil || !f.Annexed {
		t.Errorf("no annexed file %s", d.Image)
	}
}
