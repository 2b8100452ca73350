package place

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A Place is where a process lives. The zero value is not known.
type Place struct {
	Host string `json:"host"` // its name
	// Boot is the kernel's ID of this run of the host (random(4)): two hosts may have
	// one name.
	Boot string `json:"boot"`
	PID  int    `json:"pid"` // in its own namespace
	Job  string `json:"job,omitempty"`
	// Namespaces are those of namespaces(7) that matter, as "mnt:[4026531841]".
	Namespaces []string `json:"namespaces,omitempty"`
	// Cgroups are control groups, as "HIERARCHY:PATH": of cgroups(7), those hierarchies
	// that are made to kill what is in a group. That of version 2 has no name.
	Cgroups []string `json:"cgroups,omitempty"`
}

// Here returns where this process lives. What the system does not tell is left out.
func Here() Place {
	host, _ := os.Hostname()
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	p := Place{Host: host, Boot: strings.TrimSpace(string(boot)), PID: os.Getpid(), Job: job(os.Getenv)}
	for _, kind := range kinds {
		if ns, err := os.Readlink(filepath.Join("/proc/self/ns", kind.name)); err == nil {
			p.Namespaces = append(p.Namespaces, ns)
		}
	}
	table, _ := os.ReadFile("/proc/self/cgroup")
	p.Cgroups = cgroups(string(table))
	return p
}

var kinds = []struct{ name, what string }{
	{"mnt", "mount"}, {"pid", "PID"}, {"user", "user"}, {"net", "network"}, {"uts", "UTS"}, {"cgroup", "control group"},
}

// systems are batch systems and the variables that they tell a job its number in.
var systems = []struct{ name, variable, also string }{
	{"Slurm", "SLURM_JOB_ID", ""},
	{"PBS", "PBS_JOBID", ""},
	{"LSF", "LSB_JOBID", ""},
	{"Flux", "FLUX_JOB_ID", ""},
	{"Grid Engine", "JOB_ID", "SGE_TASK_ID"},
}

func job(getenv func(string) string) string {
	for _, s := range systems {
		if id := getenv(s.variable); id != "" && (s.also == "" || getenv(s.also) != "") {
			return fmt.Sprintf("%s job %.64s", s.name, id)
		}
	}
	return ""
}

// cgroups reads a table of /proc/PID/cgroup. Batch systems kill by the one hierarchy of
// version 2, or of version 1 by the freezer and by systemd's; by the others, they count.
func cgroups(table string) (in []string) {
	for line := range strings.Lines(table) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) == 3 && (f[1] == "" || f[1] == "freezer" || f[1] == "name=systemd") {
			in = append(in, f[1]+":"+f[2])
		}
	}
	return in
}

// String names the place for people.
func (p Place) String() string {
	s := fmt.Sprintf("process %d", p.PID)
	if p.Job != "" {
		s += " of " + p.Job
	}
	return s + " on the host " + p.Host
}

// OnOtherHost reports whether the place is known to be on another host than this one.
func (p Place) OnOtherHost() bool { return p.Boot != "" && p.Boot != Here().Boot }

// MayGo says why what a process at p makes may not be seen at from, or may go before it;
// "" is that it may not.
func (p Place) MayGo(from Place) (why string) {
	if p.Boot == "" {
		return ""
	}
	if p.Boot != from.Boot {
		return "it is on another host"
	}
	for _, kind := range kinds {
		if mine, theirs := of(from.Namespaces, kind.name), of(p.Namespaces, kind.name); mine != "" && theirs != "" && mine != theirs {
			return "it is in another " + kind.what + " namespace"
		}
	}
	if p.Job != "" && p.Job != from.Job {
		return "it belongs to " + p.Job + ", and may end with that"
	}
	for _, c := range p.Cgroups {
		hierarchy, group, _ := strings.Cut(c, ":")
		if in := of(from.Cgroups, hierarchy); in != "" && !stays(group) && !within(in, group) {
			return "it belongs to the control group " + group + ", and may end with that"
		}
	}
	return ""
}

// Apart says why a process at p is not of the same host, namespaces, job and control
// group as one at from; "" is that it is.
func (p Place) Apart(from Place) (why string) {
	if why := p.MayGo(from); why != "" || p.Boot == "" {
		return why
	}
	if from.Job != p.Job {
		return "it does not belong to " + from.Job
	}
	for _, c := range p.Cgroups {
		hierarchy, group, _ := strings.Cut(c, ":")
		if in := of(from.Cgroups, hierarchy); in != "" && stays(group) && !stays(in) {
			return "it does not belong to the control group " + in
		}
	}
	return ""
}

// MayBeKilled reports whether all that is of the job or the control group may be killed at
// once.
func (p Place) MayBeKilled() bool {
	for _, c := range p.Cgroups {
		if _, group, _ := strings.Cut(c, ":"); !stays(group) {
			return true
		}
	}
	return p.Job != ""
}

// of returns what follows a name and a colon in a list, or "".
func of(list []string, name string) string {
	for _, s := range list {
		if is, rest, _ := strings.Cut(s, ":"); is == name {
			return rest
		}
	}
	return ""
}

// stays reports whether a control group is none that is killed as a whole: the root, and
// what systemd makes for logins, which in some containers is below a group of theirs.
func stays(group string) bool {
	return group == "/" || within(group, "/init.scope") || slices.Contains(strings.Split(group, "/"), "user.slice")
}

func within(group, of string) bool {
	return group == of || strings.HasPrefix(group, path.Clean(of)+"/")
}
