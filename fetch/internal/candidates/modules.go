package candidates

import (
	"path"
	"strings"
)

// Module is the record of a subdataset in .gitmodules: its properties in the order
// in which they first stand there.
type Module struct {
	path  string
	order []string
	of    map[string]string
}

func (m Module) get(property string) string { return m.of[property] }

// Path is where the subdataset is in its parent, as git has it.
func (m Module) Path() string { return m.path }

// URL is what stands in .gitmodules for git: absolute, or relative to where the
// parent came from. It may be "".
func (m Module) URL() string { return m.get("url") }

// ID is the DataLad id of the subdataset, as its parent says, or "".
func (m Module) ID() string { return m.get("datalad-id") }

// IsSkipped reports whether the subdataset is to be left out where a whole tree is
// brought: it is had when it is asked for by its name.
func (m Module) IsSkipped() bool { return m.get("datalad-recursiveinstall") == "skip" }

// properties are what templates may use.
func (m Module) properties() map[string]string {
	all := make(map[string]string)
	for _, name := range m.order {
		all[strings.ReplaceAll(name, "datalad-id", "id")] = m.of[name]
	}
	if p, has := all["path"]; has {
		all["path_basename"] = p[strings.LastIndexByte(p, '/')+1:]
	}
	return all
}

// Modules reads the records of .gitmodules, by their paths. Where several have a
// path, the last counts; what has none is left out.
func Modules(entries []Entry) map[string]Module {
	named := make(map[string]*Module)
	var names []string
	for _, e := range entries {
		rest, is := strings.CutPrefix(e.Key, "submodule.")
		dot := strings.LastIndexByte(rest, '.')
		if !is || e.NoValue || strings.HasPrefix(rest[dot+1:], "__") {
			continue
		}
		name, property := rest[:max(dot, 0)], rest[dot+1:]
		m := named[name]
		if m == nil {
			m = &Module{of: make(map[string]string)}
			named[name], names = m, append(names, name)
		}
		m.set(property, e.Value)
	}
	all := make(map[string]Module)
	for _, name := range names {
		m := named[name]
		if m.path = clean(m.get("path")); m.path != "" {
			m.set("name", name)
			all[m.path] = *m
		}
	}
	return all
}

func (m *Module) set(property, value string) {
	if _, known := m.of[property]; !known {
		m.order = append(m.order, property)
	}
	m.of[property] = value
}

// clean takes out what says nothing in a path: "." and slashes. ".." stays, which no
// path in a tree has.
func clean(p string) string {
	var parts []string
	for part := range strings.SplitSeq(p, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	out := strings.Join(parts, "/")
	if path.IsAbs(p) {
		out = "/" + out
	}
	return out
}

// Record returns the record of a subdataset that has none: nothing but its path is
// known.
func Record(p string) Module {
	return Module{path: p, order: []string{"path"}, of: map[string]string{"path": p}}
}
