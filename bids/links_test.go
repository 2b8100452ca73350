package bids

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/bids/sidecar"
)

// kept is a memory that forgets nothing.
type kept map[int][]byte

func (k kept) Recall(i int) (sidecar.Links, bool) {
	data, ok := k[i]
	if !ok {
		return sidecar.Links{}, false
	}
	l, err := sidecar.Decode(data)
	return l, err == nil
}
func (k kept) Keep(i int, l sidecar.Links) { k[i] = l.Encode() }

func linkStudy() *dataset {
	return made("dataset_description.json", "participants.tsv\nparticipant_id\nsub-1\n",
		"sub-1/func/sub-1_task-r_bold.nii", "sub-1/func/sub-1_task-r_bold.json\n{\"B0FieldSource\": \"f\"}",
		"sub-1/func/sub-1_task-r_events.tsv\nonset\tstim_file\n1\ta.png\n2\ta.png\n", "stimuli/a.png", "stimuli/b.png",
		"sub-1/fmap/sub-1_acq-a_epi.nii", "sub-1/fmap/sub-1_acq-a_epi.json\n{\"B0FieldIdentifier\": \"f\"}",
		"sub-1/fmap/sub-1_acq-b_epi.nii", "sub-1/fmap/sub-1_acq-b_epi.json\n{\"IntendedFor\": [\"func/sub-1_task-r_bold.nii\", \"func/sub-1_task-x_bold.nii\"]}",
		"sub-1/fmap/sub-1_acq-c_epi.nii", "sub-1/fmap/sub-1_acq-c_epi.json\n{}",
		"sub-1/func/sub-1_task-x_bold.nii")
}

// A selection with a memory selects the same, and reads no file a second time
// but those that get new content.
func TestMemory(t *testing.T) {
	d := linkStudy()
	s := parse(t, "task=r suffix=bold ext=.nii")
	want, err := d.catalog().selectAlone(s, d.read)
	if err != nil {
		t.Fatal(err)
	}
	memory := make(kept)
	for round := range 2 {
		var read []string
		got, err := d.catalog().Remembering(memory).selectAlone(s, func(i int) ([]byte, error) {
			read = append(read, d.paths[i])
			return d.read(i)
		})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("round %d: %v, %v; without a memory %v", round, got, err, want)
		}
		slices.Sort(read)
		if again := []string{"participants.tsv", "sub-1/fmap/sub-1_acq-b_epi.json"}; round == 1 && !slices.Equal(read, again) {
			t.Errorf("read again: %q", read)
		}
	}
	for i := range memory {
		memory[i] = []byte("0{}") // another format, or damage
	}
	if got, err := d.catalog().Remembering(memory).selectAlone(s, d.read); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("a damaged memory: %v, %v; want %v", got, err, want)
	}
}

// Where it cannot be known which fieldmap is for an image, all of its session
// are shown, and the user is told.
func TestUnknownFieldSource(t *testing.T) {
	d := linkStudy()
	for _, gone := range []string{"bold.json", "acq-c_epi.json", "events.tsv"} {
		r, err := d.catalog().selectAlone(parse(t, "task=r suffix=bold ext=.nii"), func(i int) ([]byte, error) {
			if strings.HasSuffix(d.paths[i], gone) {
				return nil, errors.New("not here")
			}
			return d.read(i)
		})
		if err != nil {
			t.Fatal(err)
		}
		if shown := slices.Contains(d.pathsOf(r.Files), "sub-1/fmap/sub-1_acq-c_epi.nii"); shown != (gone != "events.tsv") {
			t.Errorf("without %s: the fieldmap c is shown: %v", gone, shown)
		}
		if len(r.Hints) != 1 || !strings.Contains(r.Hints[0], gone) {
			t.Errorf("without %s: hints %q", gone, r.Hints)
		}
	}
}

// A link that is null leads nowhere, and the sidecars further up are asked as
// if it was not there.
func TestNullIsNoLink(t *testing.T) {
	d := made("dataset_description.json", "task-r_bold.json\n{\"B0FieldSource\": \"f\"}",
		"sub-1/func/sub-1_task-r_bold.nii", "sub-1/func/sub-1_task-r_bold.json\n{\"B0FieldSource\": null}",
		"sub-1/fmap/sub-1_acq-a_epi.nii", "sub-1/fmap/sub-1_acq-a_epi.json\n{\"B0FieldIdentifier\": \"f\", \"IntendedFor\": null}",
		"sub-1/fmap/sub-1_acq-b_epi.nii", "sub-1/fmap/sub-1_acq-b_epi.json\n{\"IntendedFor\": null}")
	r, err := d.catalog().selectAlone(parse(t, "task=r suffix=bold ext=.nii"), d.read)
	if err != nil {
		t.Fatal(err)
	}
	sameFiles(t, "view", d.pathsOf(r.Files), []string{"dataset_description.json", "task-r_bold.json", "sub-1/func/sub-1_task-r_bold.nii", "sub-1/func/sub-1_task-r_bold.json",
		"sub-1/fmap/sub-1_acq-a_epi.nii", "sub-1/fmap/sub-1_acq-a_epi.json"})
}
