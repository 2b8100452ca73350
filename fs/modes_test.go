package fs

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/moby/sys/mountinfo"
	"pgregory.net/rapid"
)

// A fakeKernel keeps the kernel's rule about open modes.
type fakeKernel struct {
	mu    sync.Mutex
	valid map[int32]bool // registered backing ids
	last  int32
	fail  bool
	nodes map[uint64]*kernelNode
}

type kernelNode struct {
	cached, passed int
	backing        int32
}

func newFakeKernel() *fakeKernel {
	return &fakeKernel{valid: map[int32]bool{}, nodes: map[uint64]*kernelNode{}}
}

func (k *fakeKernel) RegisterBackingFd(*fuse.BackingMap) (int32, syscall.Errno) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail {
		return 0, syscall.EMFILE
	}
	k.last++
	k.valid[k.last] = true
	return k.last, 0
}

func (k *fakeKernel) UnregisterBackingFd(id int32) syscall.Errno {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.valid[id] {
		return syscall.ENOENT
	}
	delete(k.valid, id)
	return 0
}

// opened is what the kernel does with the answer to OPEN.
func (k *fakeKernel) opened(node uint64, id int32, pass bool) (why string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.nodes[node]
	if n == nil {
		n = &kernelNode{}
		k.nodes[node] = n
	}
	switch {
	case pass && n.cached > 0:
		return "passthrough while cached"
	case pass && !k.valid[id]:
		return "an id that is not registered"
	case pass && n.passed > 0 && n.backing != id:
		return "another id"
	case !pass && n.passed > 0:
		return "cached while passthrough"
	case pass:
		n.passed++
		n.backing = id
	default:
		n.cached++
	}
	return ""
}

func (k *fakeKernel) released(node uint64, pass bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if pass {
		k.nodes[node].passed--
	} else {
		k.nodes[node].cached--
	}
}

func newModes(k *fakeKernel) *modes {
	return &modes{kernel: k, possible: true, nodes: map[uint64]*openNode{}}
}

func TestModesKeepTheKernelsRule(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rapid.Check(t, func(t *rapid.T) {
		k := newFakeKernel()
		m := newModes(k)
		type opening struct {
			node uint64
			pass bool
		}
		var open []opening
		passed := 0
		spoiled := map[uint64]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"open": func(t *rapid.T) {
				node := rapid.Uint64Range(0, 2).Draw(t, "node")
				k.fail = rapid.IntRange(0, 4).Draw(t, "register fails") == 0
				f := file
				if rapid.Bool().Draw(t, "incomplete") {
					f = nil
				}
				id, pass, err := m.open(node, f)
				if (err != nil) != spoiled[node] {
					t.Fatalf("opened, with what the kernel reads spoiled %v: %v", spoiled[node], err)
				}
				if err != nil {
					return
				}
				if why := k.opened(node, id, pass); why != "" {
					t.Fatalf("EIO: %s", why)
				}
				if pass {
					passed++
				}
				open = append(open, opening{node, pass})
			},
			"release": func(t *rapid.T) {
				if len(open) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				k.released(open[i].node, open[i].pass)
				m.release(open[i].node)
				if m.nodes[open[i].node] == nil {
					delete(spoiled, open[i].node) // the next one begins anew
				}
				open = append(open[:i], open[i+1:]...)
			},
			// What the kernel reads by itself turns out wrong.
			"spoil": func(t *rapid.T) {
				node := rapid.Uint64Range(0, 2).Draw(t, "node")
				m.spoil(node)
				if o := m.nodes[node]; o != nil && o.pass {
					spoiled[node] = true
				}
			},
			"": func(t *rapid.T) {
				if len(open) == 0 && (len(k.valid) != 0 || len(m.nodes) != 0) {
					t.Fatalf("nothing is open, but %d ids are registered", len(k.valid))
				}
			},
		})
	})
}

func TestModesInParallel(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	k := newFakeKernel()
	m := newModes(k)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for range 2000 {
				node, f := r.Uint64N(2), file
				if r.IntN(2) == 0 {
					f = nil
				}
				id, pass, _ := m.open(node, f)
				if why := k.opened(node, id, pass); why != "" {
					t.Error("EIO:", why)
					return
				}
				k.released(node, pass)
				m.release(node)
			}
		})
	}
	wg.Wait()
	if len(k.valid) != 0 || len(m.nodes) != 0 {
		t.Errorf("%d ids are left", len(k.valid))
	}
}

func TestMountsAreAsTheKernelTells(t *testing.T) {
	const info = `22 1 0:21 / /proc rw,nosuid shared:5 - proc proc rw
36 35 0:98 / /mnt/a\040b\134c\011d\012e ro,nosuid,nodev shared:1 master:2 - fuse.uniharmonyfs https%3A//x%2Cy\040z ro,user_id=0
37 35 0:99 /sub /mnt/bind ro - fuse.uniharmonyfs  ro,user_id=0
`
	all, err := mountinfo.GetMountsFromReader(strings.NewReader(info), nil)
	got := fromKernel(all)
	want := []MountInfo{
		{22, "0:21", "/proc", "proc", true, "proc"},
		{36, "0:98", "/mnt/a b\\c\td\ne", "https%3A//x%2Cy z", true, "fuse.uniharmonyfs"},
		{37, "0:99", "/mnt/bind", "", false, "fuse.uniharmonyfs"},
	}
	if err != nil || len(got) != len(want) {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
}
