package place

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestHere(t *testing.T) {
	p := Here()
	if host, _ := os.Hostname(); p.Host != host || p.PID != os.Getpid() || len(p.Boot) != 36 || of(p.Namespaces, "mnt") == "" || len(p.Cgroups) == 0 {
		t.Errorf("%+v", p)
	}
	if p.OnOtherHost() || p.MayGo(p) != "" || p.Apart(p) != "" {
		t.Errorf("%+v is not where it is", p)
	}
	if (Place{}).OnOtherHost() || (Place{}).MayGo(p) != "" || (Place{}).Apart(p) != "" {
		t.Error("what is not known is said to be elsewhere")
	}
}

func TestJobs(t *testing.T) {
	for _, c := range []struct{ env, want string }{
		{"", ""},
		{"SLURM_JOB_ID=12", "Slurm job 12"},
		{"PBS_JOBID=12.head", "PBS job 12.head"},
		{"LSB_JOBID=7", "LSF job 7"},
		{"JOB_ID=7", ""}, // anybody may call a variable so
		{"JOB_ID=7 SGE_TASK_ID=undefined", "Grid Engine job 7"},
	} {
		got := job(func(name string) string {
			for kv := range strings.FieldsSeq(c.env) {
				if k, v, _ := strings.Cut(kv, "="); k == name {
					return v
				}
			}
			return ""
		})
		if got != c.want {
			t.Errorf("%q: %q", c.env, got)
		}
	}
}

func TestCgroups(t *testing.T) {
	got := cgroups("8:pids:/p\n6:freezer:/slurm/uid_1/job_2\n4:memory:/m\n1:name=systemd:/user.slice/a:b\n0::/\n")
	if !slices.Equal(got, []string{"freezer:/slurm/uid_1/job_2", "name=systemd:/user.slice/a:b", ":/"}) {
		t.Errorf("%q", got)
	}
}

func TestWhereAServerMayBe(t *testing.T) {
	base := Place{Host: "n1", Boot: "b1", Namespaces: []string{"mnt:[1]", "pid:[1]"}, Cgroups: []string{":/"}}
	with := func(change func(*Place)) Place {
		p := base
		p.Namespaces = slices.Clone(base.Namespaces)
		change(&p)
		return p
	}
	in := func(group string) Place { return with(func(p *Place) { p.Cgroups = []string{":" + group} }) }
	ofJob := func(job string) Place { return with(func(p *Place) { p.Job = job }) }
	for _, c := range []struct {
		name           string
		server, client Place
		mayGo, apart   string
	}{
		{"the same", base, base, "", ""},
		{"another process", with(func(p *Place) { p.PID = 7 }), base, "", ""},
		{"another host", with(func(p *Place) { p.Boot = "b2" }), base, "another host", "another host"},
		{"a mount namespace", with(func(p *Place) { p.Namespaces[0] = "mnt:[2]" }), base, "another mount namespace", "another mount namespace"},
		{"a PID namespace", base, with(func(p *Place) { p.Namespaces[1] = "pid:[2]" }), "another PID namespace", "another PID namespace"},
		{"a namespace that is not known", with(func(p *Place) { p.Namespaces = p.Namespaces[1:] }), base, "", ""},
		{"another job's", ofJob("Slurm job 1"), ofJob("Slurm job 2"), "Slurm job 1, and may end", "Slurm job 1, and may end"},
		{"a job's, and no job", ofJob("Slurm job 1"), base, "Slurm job 1, and may end", "Slurm job 1, and may end"},
		{"none's, and a job", base, ofJob("Slurm job 2"), "", "does not belong to Slurm job 2"},
		{"the job's own", ofJob("Slurm job 2"), ofJob("Slurm job 2"), "", ""},
		{"two jobs' groups", in("/job_1"), in("/job_2"), "control group /job_1, and may end", "control group /job_1, and may end"},
		{"like names", in("/job_1"), in("/job_12"), "control group /job_1", "control group /job_1"},
		{"a job and a step of it", in("/job_1"), in("/job_1/step_0"), "", ""},
		{"a step, and the job", in("/job_1/step_0"), in("/job_1"), "/job_1/step_0", "/job_1/step_0"},
		{"two logins", in("/user.slice/user-1.slice/session-1.scope"), in("/user.slice/user-1.slice/session-2.scope"), "", ""},
		{"two logins in a container", in("/lxc/c1/user.slice/user-1.slice/session-1.scope"), in("/lxc/c1/user.slice/user-1.slice/session-2.scope"), "", ""},
		{"like a login", in("/job_1/user.slices"), in("/job_2"), "/job_1/user.slices", "/job_1/user.slices"},
		{"a login, and a job", in("/user.slice/user-1.slice/session-1.scope"), in("/job_2"), "", "does not belong to the control group /job_2"},
		{"a job, and a login", in("/job_1"), in("/user.slice/user-1.slice/session-1.scope"), "/job_1", "/job_1"},
		{"a hierarchy that is not known", with(func(p *Place) { p.Cgroups = []string{"freezer:/job_1"} }), base, "", ""},
	} {
		for _, got := range []struct{ what, is, want string }{
			{"MayGo", c.server.MayGo(c.client), c.mayGo}, {"Apart", c.server.Apart(c.client), c.apart},
		} {
			if got.want == "" && got.is != "" || !strings.Contains(got.is, got.want) {
				t.Errorf("%s: %s is %q, not %q", c.name, got.what, got.is, got.want)
			}
		}
	}
}
