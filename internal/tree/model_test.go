package tree

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/uniharmony/uniharmonyfs/internal/annex"
)

// A model is a commit as a plain map: path of a directory to its entries.
type model map[string][]Entry

var names = rapid.OneOf(
	rapid.SampledFrom([]string{
		"sub-01", "anat", "a b", `back\slash`, "-rf", "ünï", "\xff\xfe", "*", "~", "...", ".gitattributes",
		".datalad", "git", "con", "a", "a-b", "a.b", "a0", strings.Repeat("x", 255),
	}),
	rapid.Map(rapid.SliceOfN(rapid.ByteRange(0x20, 0xff), 1, 12), func(b []byte) string { return string(b) }),
	rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]string{"sub-01", "ses-2", "run-10", "bold.nii.gz", ""}), 1, 5), func(parts []string) string {
		return strings.Join(parts, "_")
	}),
).Filter(func(s string) bool { return unsafeName(s) == "" })

func drawKey(t *rapid.T, size int64) annex.Key {
	digest := rapid.SliceOfN(rapid.Byte(), 16, 16)
	text := ""
	switch rapid.IntRange(0, 6).Draw(t, "form") {
	case 0:
		ext := rapid.SampledFrom([]string{"", ".nii.gz", ".json", ".x y"}).Draw(t, "ext")
		text = fmt.Sprintf("MD5E-s%d--%x%s", size, digest.Draw(t, "digest"), ext)
	case 1:
		text = fmt.Sprintf("SHA256E-s%d--%x%x.nii", size, digest.Draw(t, "digest"), digest.Draw(t, "digest"))
	case 2:
		text = annex.GitKey(hex.EncodeToString(append(digest.Draw(t, "digest"), 1, 2, 3, 4)), size).String()
	case 3: // another size than the file's
		text = fmt.Sprintf("MD5-s%d--%x", size+1, digest.Draw(t, "digest"))
	case 4: // upper case, leading zero, more fields, odd lengths
		text = rapid.SampledFrom([]string{
			"MD5-s%d--D41D8CD98F00B204E9800998ECF8427E", "MD5--d41d8cd98f00b204e9800998ecf8427e.s%d",
			"MD5-s%d-m5--d41d8cd98f00b204e9800998ecf8427e", "MD5-s%d--d41d8cd98f00b204e9800998ecf8427e-x",
			"MD5-s%d--d41d8cd98f00b204e9800998ecf8427", "WORM-s%d-m1--name of / a file.nii", "XFOO-s%d--é",
			"MD5E-s%d--d41d8cd98f00b204e9800998ecf8427e." + strings.Repeat("e", 60),
		}).Draw(t, "odd")
		text = fmt.Sprintf(text, size)
	case 5:
		text = "URL--http&c%%example.org%data"
	case 6:
		text = "MD5--d41d8cd98f00b204e9800998ecf8427e"
	}
	k, err := annex.ParseKey(text)
	if err != nil {
		t.Fatalf("the generator made %q: %v", text, err)
	}
	return k
}

func drawEntry(t *rapid.T, dirs bool) Entry {
	e := Entry{Name: names.Draw(t, "name")}
	switch k := rapid.IntRange(0, 5).Draw(t, "kind"); {
	case k <= 1 && dirs:
	case k == 2:
		e.Kind = Link
		e.Target = rapid.StringN(1, 10, 100).Filter(func(s string) bool { return !strings.Contains(s, "\x00") }).Draw(t, "target")
		e.Size = int64(len(e.Target))
	default:
		e.Kind = rapid.SampledFrom([]Kind{Annexed, Git}).Draw(t, "file")
		e.Size = rapid.OneOf(rapid.Int64Range(0, 9), rapid.Int64Range(0, maxSize-1)).Draw(t, "size")
		e.Key = drawKey(t, e.Size)
	}
	return e
}

func drawModel(t *rapid.T) model {
	m := model{}
	todo := []string{""}
	for i := 0; i < len(todo); i++ {
		n := rapid.IntRange(0, 5).Draw(t, "entries")
		seen := map[string]bool{}
		entries := []Entry{}
		for range n {
			e := drawEntry(t, i < 8)
			if seen[e.Name] {
				continue
			}
			seen[e.Name] = true
			entries = append(entries, e)
			if e.Kind == Dir {
				todo = append(todo, join(todo[i], e.Name))
			}
		}
		m[todo[i]] = entries
	}
	return m
}

// build adds the model's directories in the order of paths.
func (m model) build(paths []string) (*Tree, error) {
	b := NewBuilder()
	for _, p := range paths {
		if err := b.AddDir(p, m[p]); err != nil {
			return nil, err
		}
	}
	return b.Tree()
}

// paths returns the directories, parents first.
func (m model) paths() []string {
	var all []string
	for p := range m {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b string) int {
		if a == "" || b == "" {
			return len(a) - len(b)
		}
		if d := strings.Count(a, "/") - strings.Count(b, "/"); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return all
}

func sorted(entries []Entry) []Entry {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries
}
