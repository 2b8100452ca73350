package main_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/uniharmony/uniharmonyfs/internal/maker"
)

// slurm is a cluster of two nodes on this machine.
type slurm struct {
	t         *testing.T
	dir       string
	env       []string
	proctrack string
}

// slurmConfig is slurm.conf(5). A node's processes are one user's here, and Slurm's own
// accounts of time and memory are of no interest.
const slurmConfig = `ClusterName=test
SlurmctldHost=localhost
SlurmctldPort=%[2]d
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=%[1]s/munge.sock
MpiDefault=none
ProctrackType=proctrack/%[5]s
KillWait=1
ReturnToService=2
SlurmctldPidFile=%[1]s/ctl.pid
SlurmdPidFile=%[1]s/%%n.pid
SlurmdSpoolDir=%[1]s/%%n
StateSaveLocation=%[1]s/ctl
SlurmctldLogFile=%[1]s/ctl.log
SlurmdLogFile=%[1]s/%%n.log
SwitchType=switch/none
TaskPlugin=task/none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=%[3]d CPUs=4 State=UNKNOWN
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port=%[4]d CPUs=4 State=UNKNOWN
PartitionName=p Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
`

// startSlurm starts a cluster that follows a job's processes by proctrack.
func startSlurm(t *testing.T, u *user, proctrack string) *slurm {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can start Slurm")
	}
	for _, name := range []string{"munged", "slurmctld", "slurmd", "sbatch"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip("skipped: Slurm is not installed: ", err)
		}
	}
	if _, err := os.Stat("/sys/fs/cgroup/freezer"); err != nil && proctrack == "cgroup" {
		t.Skip("skipped: Slurm's control groups of version 1 are not here")
	}
	s := &slurm{t: t, dir: u.path("slurm"), proctrack: proctrack}
	s.env = append(os.Environ(), "SLURM_CONF="+filepath.Join(s.dir, "slurm.conf"))
	for _, name := range []string{"", "ctl", "n1", "n2"} {
		if err := os.Mkdir(filepath.Join(s.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	key := make([]byte, 1024)
	rand.Read(key)
	if err := os.WriteFile(filepath.Join(s.dir, "munge.key"), key, 0o400); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(s.dir, "slurm.conf"), fmt.Sprintf(slurmConfig, s.dir, freePort(t), freePort(t), freePort(t), proctrack))
	write(t, filepath.Join(s.dir, "cgroup.conf"), "CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\n")
	t.Cleanup(s.stop)
	s.run("munged", "--force", "--key-file="+filepath.Join(s.dir, "munge.key"), "--socket="+filepath.Join(s.dir, "munge.sock"),
		"--pid-file="+filepath.Join(s.dir, "munge.pid"), "--log-file="+filepath.Join(s.dir, "munge.log"), "--seed-file="+filepath.Join(s.dir, "munge.seed"))
	s.run("slurmctld")
	s.run("slurmd", "-N", "n1")
	s.run("slurmd", "-N", "n2")
	eventually(t, "the nodes are idle", func() bool {
		out, _ := s.command("sinfo", "-h", "-N", "-t", "idle").Output()
		return len(lines(string(out))) == 2
	})
	return s
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (s *slurm) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Dir = s.env, s.dir
	return cmd
}

func (s *slurm) run(name string, args ...string) string {
	s.t.Helper()
	// What is started goes on, and has our output.
	out, err := os.Create(filepath.Join(s.dir, "out"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	cmd := s.command(name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	said, _ := os.ReadFile(out.Name())
	if err != nil {
		s.t.Fatalf("%s: %v: %s", name, err, said)
	}
	return string(said)
}

func (s *slurm) stop() {
	if _, err := os.Stat(filepath.Join(s.dir, "ctl.pid")); err == nil {
		s.command("scancel", "--user=root").Run()
	}
	for _, name := range []string{"n1", "n2", "ctl", "munge"} {
		raw, _ := os.ReadFile(filepath.Join(s.dir, name+".pid"))
		pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
		if err != nil {
			continue
		}
		syscall.Kill(pid, syscall.SIGTERM)
		eventually(s.t, name+" ends", func() bool {
			state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return err != nil || bytes.Contains(state, []byte(") Z "))
		})
	}
	if s.proctrack == "cgroup" { // Slurm leaves them
		for _, node := range []string{"n1", "n2"} {
			var groups []string
			filepath.WalkDir("/sys/fs/cgroup/freezer/slurm_"+node, func(path string, e os.DirEntry, err error) error {
				if err == nil && e.IsDir() {
					groups = append(groups, path)
				}
				return nil
			})
			for _, group := range slices.Backward(groups) {
				eventually(s.t, "a control group goes", func() bool { err := os.Remove(group); return err == nil || os.IsNotExist(err) })
			}
		}
	}
	if s.t.Failed() {
		for _, name := range []string{"ctl.log", "n1.log"} {
			log, _ := os.ReadFile(filepath.Join(s.dir, name))
			s.t.Logf("%s:\n%s", name, tail(log, 2000))
		}
	}
}

// running are the tasks that run.
func (s *slurm) running() []string {
	out, _ := s.command("squeue", "-h", "-t", "R", "-o", "%i").Output()
	return strings.Fields(string(out))
}

const slurmTasks = 16

// array submits a task for each subject and waits for all, killing one with kill now and
// then; nil kills none. It returns how many were killed, and how each that was not ended.
func (s *slurm) array(u *user, script string, kill func(task string)) (killed int, ended map[int]string) {
	s.t.Helper()
	path := filepath.Join(s.dir, "task.sh")
	write(s.t, path, "#!/bin/sh\n"+script)
	old, _ := filepath.Glob(filepath.Join(s.dir, "out-*"))
	for _, f := range old {
		os.Remove(f)
	}
	cmd := s.command("sbatch", "--wait", "--no-requeue", fmt.Sprintf("--array=0-%d", slurmTasks-1), "--output="+filepath.Join(s.dir, "out-%a"), path)
	cmd.Env = append(u.command(context.Background()).Env, s.env[len(s.env)-1])
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	gone := make(map[int]bool)
	for over := false; !over; {
		select {
		case <-done:
			over = true
		case <-time.After(time.Second):
			tasks := s.running()
			if kill == nil || len(tasks) == 0 {
				continue
			}
			task := tasks[mathrand.IntN(len(tasks))]
			if _, n, ok := strings.Cut(task, "_"); ok {
				if n, err := strconv.Atoi(n); err == nil && !gone[n] {
					kill(task)
					gone[n] = true
				}
			}
		}
	}
	ended = make(map[int]string)
	for n := range slurmTasks {
		said, err := os.ReadFile(filepath.Join(s.dir, fmt.Sprintf("out-%d", n)))
		if err != nil && !gone[n] {
			s.t.Errorf("task %d: %v", n, err)
		}
		if !gone[n] {
			ended[n] = string(said)
		}
	}
	return len(gone), ended
}

// An array of jobs over subjects, on two nodes, with one cache: each reads its subject, and
// all of it right, whatever of the others is killed; and nothing is left on the nodes.
func TestSlurmArray(t *testing.T) {
	for _, proctrack := range []string{"linuxproc", "cgroup"} {
		t.Run(proctrack, func(t *testing.T) {
			t.Parallel()
			u := execUser(t)
			jobUser(t, u)
			slurm := startSlurm(t, u, proctrack)
			d := files("one", 0, 0)
			for n := range slurmTasks {
				for run := range 3 {
					sub := fmt.Sprintf("sub-%02d", n)
					d.Files = append(d.Files, maker.File{Path: fmt.Sprintf("%s/anat/%s_run-%d_T1w.nii.gz", sub, sub, run), Size: 200_000, Seed: uint64(10*n + run + 1), Annexed: true})
				}
			}
			s, made := serve(t, u, d)
			sums := make(map[int]string)
			for path, content := range contents(t, made) {
				if n := 0; strings.HasPrefix(path, "sub-") {
					fmt.Sscanf(path, "sub-%d/", &n)
					sums[n] += fmt.Sprintf("%x  %s\n", sha256.Sum256(content), path)
				}
			}
			for n, sum := range sums {
				write(t, u.path(fmt.Sprintf("sums-%02d", n)), sum)
			}
			script := fmt.Sprintf(`
sub=$(printf %%02d $SLURM_ARRAY_TASK_ID)
%s exec --quiet --dataset %s --sub $sub -- sh -c 'cd {} && ls && sha256sum -c --quiet %s-'$sub' && sleep 1 && sha256sum -c --quiet %[3]s-'$sub
echo "it ends with $?"
`, binary, s.GitURL(made), u.path("sums"))
			right := func(ended map[int]string) {
				t.Helper()
				for n, said := range ended {
					want := fmt.Sprintf("CHANGES\nREADME\ndataset_description.json\nsub-%02d\nit ends with 0\n", n)
					want = strings.TrimPrefix(want, "CHANGES\n")
					if said != want {
						t.Errorf("task %d says %q", n, said)
					}
				}
			}
			_, ended := slurm.array(u, script, nil)
			if len(ended) != slurmTasks {
				t.Errorf("%d tasks ended", len(ended))
			}
			right(ended)
			nothingIsLeft := func() {
				t.Helper()
				eventually(t, "the daemons go", func() bool { return len(u.daemons()) == 0 })
				if left := slices.Concat(u.rooms(), u.execs()); len(left) > 0 {
					t.Errorf("left are %q", left)
				}
			}
			nothingIsLeft()
			how := 0
			killed, ended := slurm.array(u, script, func(task string) {
				if how++; how%2 == 0 {
					slurm.command("scancel", "--full", "--signal=KILL", task).Run()
				} else {
					slurm.command("scancel", "--signal=KILL", task).Run() // what was killed is its program, or all
					slurm.command("scancel", task).Run()
				}
			})
			if killed == 0 || len(ended) == 0 {
				t.Errorf("%d were killed, and %d ended", killed, len(ended))
			}
			right(ended)
			// What the last one that was killed has left, the next one removes.
			u.must("exec", "--dataset", s.GitURL(made), "--", "true")
			nothingIsLeft()
		})
	}
}

// What docs/slurm.md says to write is what works.
func TestSlurmDocument(t *testing.T) {
	u := execUser(t)
	jobUser(t, u)
	slurm := startSlurm(t, u, "linuxproc")
	doc, err := os.ReadFile("../../docs/slurm.md")
	if err != nil {
		t.Fatal(err)
	}
	var list, script string
	for line := range strings.Lines(string(doc)) {
		if code, ok := strings.CutPrefix(line, "    "); ok {
			if strings.Contains(code, "> subjects.txt") {
				list = code
			}
			if script != "" || strings.HasPrefix(code, "#!") {
				script += code
			}
		} else if strings.TrimSpace(line) != "" && script != "" {
			break
		} else if script != "" {
			script += "\n"
		}
	}
	d := files("one", 0, 0)
	for n := range 4 {
		sub := fmt.Sprintf("sub-%02d", n)
		d.Files = append(d.Files, maker.File{Path: fmt.Sprintf("%s/anat/%s_T1w.nii.gz", sub, sub), Size: 200_000, Seed: uint64(n + 1), Annexed: true})
	}
	s, made := serve(t, u, d)
	here := strings.NewReplacer("ds004712", s.GitURL(made), "--array=0-19", "--array=0-3", "#SBATCH --cpus-per-task=8", "#")
	write(t, filepath.Join(slurm.dir, "task.sh"), here.Replace(script))
	write(t, filepath.Join(slurm.dir, "mriqc"), `#!/bin/sh
test "$2 $3 $4" = "$HOME/mriqc participant --participant-label" && test "$6 $7" = "-w $TMPDIR/mriqc-$5" && sha256sum <"$1/sub-$5/anat/sub-$5_T1w.nii.gz"
`)
	if err := os.Chmod(filepath.Join(slurm.dir, "mriqc"), 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) {
		t.Helper()
		cmd := slurm.command(name, args...)
		cmd.Env = slices.DeleteFunc(u.command(context.Background()).Env, func(kv string) bool { return strings.HasPrefix(kv, "UNIHARMONYFS_CACHE=") })
		cmd.Env = append(cmd.Env, slurm.env[len(slurm.env)-1], "PATH="+slurm.dir+":"+filepath.Dir(binary)+":"+os.Getenv("PATH"), "USER=me")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
	run("sh", "-c", here.Replace(list))
	run("sbatch", "--wait", "task.sh")
	for n := range 4 {
		said, err := os.ReadFile(filepath.Join(slurm.dir, fmt.Sprintf("task.sh-%d.out", n)))
		want := contentSum(t, made, fmt.Sprintf("sub-%02d/anat/sub-%02d_T1w.nii.gz", n, n)) + "  -\n"
		if err != nil || !strings.HasSuffix(string(said), want) {
			t.Errorf("task %d: %q, %v", n, said, err)
		}
	}
	eventually(t, "the daemons go", func() bool { return len(u.daemons()) == 0 })
}
