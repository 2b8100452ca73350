package candidates

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// Config is what decides where subdatasets are looked for: settings by key, each
// from the place that counts, in the order in which DataLad comes upon them.
type Config struct {
	order     []string
	of        map[string]setting
	insteadOf []string // keys of the user's rewritten URLs
	templates int      // of datasets
	tooMany   bool     // there are more of them
}

// setting is the values of a key, of one layer. Several are an error to whoever
// wants one.
type setting struct {
	values []Entry
	users  bool // the user said it, not a dataset
}

// Layers are the places where settings stand; the later ones count more. A dataset
// is believed less than the user: see [Reach].
type Layers struct {
	Inherited   Config   // of the parent's own parent: its templates hold here too
	Branch      []Entry  // .datalad/config of the parent's version
	Repository  []Entry  // the configuration of the parent's repository, where it is one of this machine
	Parent      []Entry  // what follows from how the user named the dataset
	User        []Entry  // system, global, and of git's environment
	Environment []string // NAME=value; DATALAD_* counts
}

const (
	templatePrefix = "datalad.get.subdataset-source-candidate-"
	overrides      = "DATALAD_CONFIG_OVERRIDES_JSON"
	// maxTemplates is how many templates of datasets are looked at, those that were
	// handed down too.
	maxTemplates = 1000
)

// Merge makes one configuration of all layers. For git a repository's settings and
// the user's are one layer, in which a key may have several values; here the user's
// word about a key is the only one.
func (l Layers) Merge() Config {
	c := Config{of: make(map[string]setting)}
	for _, key := range l.Inherited.order {
		if strings.HasPrefix(key, templatePrefix) {
			c.set(key, l.Inherited.of[key])
		}
	}
	c.layer(l.Branch, false)
	c.layer(l.User, true)
	c.layer(l.Repository, false)
	c.layer(l.Parent, true)
	c.environment(l.Environment)
	for _, key := range c.order {
		if c.of[key].users && strings.HasPrefix(key, "url.") && strings.HasSuffix(key, ".insteadof") {
			c.insteadOf = append(c.insteadOf, key)
		}
	}
	return c
}

func (c *Config) set(key string, s setting) {
	if _, known := c.of[key]; !known {
		if !s.users && strings.HasPrefix(key, templatePrefix) {
			if c.templates == maxTemplates {
				c.tooMany = true
				return
			}
			c.templates++
		}
		c.order = append(c.order, key)
	}
	c.of[key] = s
}

// layer adds the settings of one place. What the user said stays.
func (c *Config) layer(entries []Entry, users bool) {
	of := make(map[string]setting)
	var order []string
	for _, e := range entries {
		s, known := of[e.Key]
		if !known {
			order = append(order, e.Key)
		}
		of[e.Key] = setting{append(s.values, e), users}
	}
	for _, key := range order {
		if !c.of[key].users {
			c.set(key, of[key])
		}
	}
}

// environment adds what DataLad takes from variables: DATALAD_A_B__C is a.b-c, and
// one of them has many settings as JSON.
func (c *Config) environment(env []string) {
	last := make(map[string]string)
	var names []string
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, "DATALAD_") {
			continue
		}
		if _, known := last[name]; !known {
			names = append(names, name)
		}
		last[name] = value
	}
	many := make(map[string]any)
	if json.Unmarshal([]byte(last[overrides]), &many) == nil {
		for _, key := range slices.Sorted(maps.Keys(many)) {
			if text, ok := many[key].(string); ok {
				c.set(key, setting{[]Entry{{Key: key, Value: text}}, true})
			}
		}
	}
	for _, name := range names {
		if name != overrides {
			key := strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(name, "__", "-"), "_", "."))
			c.set(key, setting{[]Entry{{Key: key, Value: last[name]}}, true})
		}
	}
}

// rewrite applies the user's url.BASE.insteadOf, the longest that fits, as git does
// with the URLs that it sees. base is what the user wrote of the result, or "".
func (c Config) rewrite(url string) (rewritten, base string) {
	longest := ""
	for _, key := range c.insteadOf {
		to := strings.TrimSuffix(strings.TrimPrefix(key, "url."), ".insteadof")
		for _, e := range c.of[key].values {
			if strings.HasPrefix(url, e.Value) && len(e.Value) > len(longest) {
				longest, base = e.Value, to
			}
		}
	}
	if longest == "" {
		return url, ""
	}
	return base + url[len(longest):], base
}
