package maker

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// BIDSOptions says how large a BIDS dataset is to be.
type BIDSOptions struct {
	Name      string   // "" means "bids"
	Subjects  int      // at least 1
	Sessions  int      // of each subject; 0: no session level
	Runs      int      // of each task; 0: no run entity
	Datatypes []string // of anat, func, dwi, fmap; nil means all
	Tasks     []string // of func; nil means rest
	// FieldMaps is "phasediff" (the default) or "epi".
	FieldMaps string
	// ImageSize is every image's size in bytes; 0 means small true ones. The
	// images of a size are valid, but do not compress.
	ImageSize int64
	Seed      uint64
}

// repetitionTime is that of all images with a time, in seconds.
const repetitionTime = 2

// BIDS returns a valid BIDS dataset, its images annexed, without remotes.
func BIDS(o BIDSOptions) Dataset {
	if o.Name == "" {
		o.Name = "bids"
	}
	if o.Datatypes == nil {
		o.Datatypes = []string{"anat", "func", "dwi", "fmap"}
	}
	if o.Tasks == nil {
		o.Tasks = []string{"rest"}
	}
	b := &bidsMaker{BIDSOptions: o}
	b.root()
	for sub := 1; sub <= o.Subjects; sub++ {
		b.subject(fmt.Sprintf("sub-%0*d", digits(o.Subjects), sub))
	}
	return Dataset{Name: o.Name, Files: b.files}
}

// digits returns the width of labels up to n, at least 2.
func digits(n int) int { return max(2, len(fmt.Sprint(n))) }

// bidsMaker collects the files of a BIDS dataset.
type bidsMaker struct {
	BIDSOptions
	files []File
	scans []string // images of the session at hand, relative to it
}

func (b *bidsMaker) has(datatype string) bool { return slices.Contains(b.Datatypes, datatype) }

func (b *bidsMaker) text(path, content string) {
	b.files = append(b.files, File{Path: path, Data: []byte(content)})
}

func (b *bidsMaker) json(path string, content any) {
	data, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		data = nil // cannot be: only maps and strings come here
	}
	b.text(path, string(data)+"\n")
}

// fields is a JSON object.
type fields map[string]any

// image adds an annexed image and lists it as a scan.
func (b *bidsMaker) image(dir, name string, v volume) {
	path := dir + name
	f := File{Path: path, Annexed: true, Seed: b.Seed<<32 + uint64(len(b.files))}
	if b.ImageSize > 0 {
		f.Image, f.Size = true, b.ImageSize
		if len(v.dims) > 3 {
			f.Volumes = v.dims[3]
		}
	} else {
		v.seed = f.Seed
		f.Data = v.gzipped()
	}
	b.files = append(b.files, f)
	elements := strings.Split(path, "/")
	b.scans = append(b.scans, strings.Join(elements[len(elements)-2:], "/"))
}

// subject adds all of one subject.
func (b *bidsMaker) subject(sub string) {
	if b.Sessions == 0 {
		b.session(sub+"/", sub, "")
		return
	}
	table := "session_id\tacq_time\n"
	for i := 1; i <= b.Sessions; i++ {
		ses := fmt.Sprintf("ses-%0*d", digits(b.Sessions), i)
		table += fmt.Sprintf("%s\t%s\n", ses, when(i))
		b.session(sub+"/"+ses+"/", sub+"_"+ses, ses+"/")
	}
	b.text(sub+"/"+sub+"_sessions.tsv", table)
}

// session adds the files below dir; their names begin with prefix. within is
// dir relative to the subject.
func (b *bidsMaker) session(dir, prefix, within string) {
	b.scans = nil
	if b.has("anat") {
		b.image(dir, "anat/"+prefix+"_T1w.nii.gz", volume{dims: []int{24, 28, 20}, size: []float32{8, 8, 8}})
	}
	var bold []string // relative to the subject
	if b.has("func") {
		bold = b.functional(dir, prefix, within)
	}
	if b.has("dwi") {
		b.diffusion(dir, prefix)
	}
	if b.has("fmap") {
		b.fieldMaps(dir, prefix, bold)
	}
	table := "filename\tacq_time\n"
	for i, scan := range b.scans {
		table += fmt.Sprintf("%s\t%s\n", scan, when(1)[:14]+fmt.Sprintf("%02d:00", i%60))
	}
	b.text(dir+prefix+"_scans.tsv", table)
}

// when returns a made-up time of the i-th session.
func when(i int) string { return fmt.Sprintf("19%02d-01-01T10:00:00", i%100) }

// functional adds all tasks and runs and returns their images.
func (b *bidsMaker) functional(dir, prefix, within string) (images []string) {
	for _, task := range b.Tasks {
		for run := min(b.Runs, 1); run <= b.Runs; run++ {
			name := prefix + "_task-" + task
			if b.Runs > 0 {
				name += fmt.Sprintf("_run-%0*d", digits(b.Runs), run)
			}
			b.image(dir, "func/"+name+"_bold.nii.gz", volume{dims: []int{16, 16, 10, 12}, size: []float32{12, 12, 12, repetitionTime}})
			images = append(images, within+"func/"+name+"_bold.nii.gz")
			if task != "rest" {
				b.text(dir+"func/"+name+"_events.tsv", "onset\tduration\ttrial_type\n2.0\t4.0\tleft\n10.0\t4.0\tright\n18.0\t4.0\tleft\n")
			}
		}
	}
	return images
}

func (b *bidsMaker) diffusion(dir, prefix string) {
	base := dir + "dwi/" + prefix + "_dwi"
	b.image(dir, "dwi/"+prefix+"_dwi.nii.gz", volume{dims: []int{16, 16, 10, 7}, size: []float32{12, 12, 12, repetitionTime}})
	b.text(base+".bval", "0 1000 1000 1000 1000 1000 1000\n")
	b.text(base+".bvec", "0 1 0 0 0.707107 0.707107 0\n0 0 1 0 0.707107 0 0.707107\n0 0 0 1 0 0.707107 0.707107\n")
}

func (b *bidsMaker) fieldMaps(dir, prefix string, bold []string) {
	shape := volume{dims: []int{16, 16, 10}, size: []float32{12, 12, 12}}
	base := dir + "fmap/" + prefix
	intended := fields{}
	if len(bold) > 0 {
		intended["IntendedFor"] = bold
	}
	with := func(more fields) fields {
		for k, v := range intended {
			more[k] = v
		}
		return more
	}
	if b.FieldMaps == "epi" {
		b.json(base+"_dir-AP_epi.json", with(fields{"PhaseEncodingDirection": "j-", "TotalReadoutTime": 0.05}))
		b.json(base+"_dir-PA_epi.json", with(fields{"PhaseEncodingDirection": "j", "TotalReadoutTime": 0.05}))
		b.image(dir, "fmap/"+prefix+"_dir-AP_epi.nii.gz", shape)
		b.image(dir, "fmap/"+prefix+"_dir-PA_epi.nii.gz", shape)
		return
	}
	for _, suffix := range []string{"magnitude1", "magnitude2", "phasediff"} {
		b.image(dir, "fmap/"+prefix+"_"+suffix+".nii.gz", shape)
	}
	b.json(base+"_phasediff.json", with(fields{"EchoTime1": 0.00492, "EchoTime2": 0.00738}))
}

// root adds the files at the dataset's root.
func (b *bidsMaker) root() {
	b.text(".gitattributes", "* annex.backend=SHA256E\n**/.git* annex.largefiles=nothing\n")
	b.json("dataset_description.json", fields{
		"Name": b.Name, "BIDSVersion": "1.10.0", "DatasetType": "raw", "License": "CC0",
		"Authors":     []string{"The uniharmonyfs contributors"},
		"GeneratedBy": []fields{{"Name": "uniharmonyfs", "Description": "images are computed, not scanned"}},
	})
	b.text("README", strings.Repeat("This dataset was made by uniharmonyfs to show and to test what it does. Its images are computed; nobody was scanned.\n", 2))
	b.text("CHANGES", "1.0.0 2024-01-01\n  - First version.\n")
	b.text("LICENSE", "CC0 1.0 Universal: https://creativecommons.org/publicdomain/zero/1.0/\n")
	table := "participant_id\tage\tsex\n"
	for sub := 1; sub <= b.Subjects; sub++ {
		table += fmt.Sprintf("sub-%0*d\t%d\t%s\n", digits(b.Subjects), sub, 20+sub*7%50, [...]string{"M", "F"}[sub%2])
	}
	b.text("participants.tsv", table)
	b.json("participants.json", fields{
		"age": fields{"Description": "age of the participant", "Units": "year"},
		"sex": fields{"Description": "sex of the participant", "Levels": fields{"M": "male", "F": "female"}},
	})
	if b.has("anat") {
		b.json("T1w.json", fields{"RepetitionTime": 2.3, "EchoTime": 0.003, "FlipAngle": 9, "MagneticFieldStrength": 3})
	}
	if b.has("func") {
		for _, task := range b.Tasks {
			b.json("task-"+task+"_bold.json", fields{"TaskName": task, "RepetitionTime": repetitionTime, "EchoTime": 0.03, "PhaseEncodingDirection": "j-", "TotalReadoutTime": 0.05})
			if task != "rest" {
				b.json("task-"+task+"_events.json", fields{"trial_type": fields{"Description": "which hand", "Levels": fields{"left": "left hand", "right": "right hand"}}})
			}
		}
	}
	if b.has("dwi") {
		b.json("dwi.json", fields{"RepetitionTime": repetitionTime, "EchoTime": 0.08, "PhaseEncodingDirection": "j-", "TotalReadoutTime": 0.05})
	}
}
