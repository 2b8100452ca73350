package maker

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustMake(t *testing.T, dir string, d Dataset) *Made {
	t.Helper()
	m, err := Make(dir, d)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
