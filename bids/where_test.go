package bids

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/uniharmony/uniharmonyfs/bids/filter"
	"github.com/uniharmony/uniharmonyfs/bids/internal/tsv"
	"github.com/uniharmony/uniharmonyfs/bids/schema"
)

func whereStudy() *dataset {
	return made("dataset_description.json",
		"participants.tsv\nparticipant_id\tage\tsex\tcode\tpatient\tage at scan\nsub-1\t30\tF\t01\tTrue\t1\nsub-2\t41.5\tM\tx\tFalse\t2\nsub-3\tn/a\tF\t\tTrue\t3\n",
		"sub-1/sub-1_sessions.tsv\nsession_id\tage\nses-a\t31\n",
		"sub-1/ses-a/sub-1_ses-a_scans.tsv\nfilename\tquality\nanat/sub-1_ses-a_T1w.nii\t3\n",
		"sub-1/ses-a/anat/sub-1_ses-a_T1w.nii", "sub-1/ses-b/anat/sub-1_ses-b_T1w.nii", "sub-2/anat/sub-2_T1w.nii", "sub-3/anat/sub-3_T1w.nii",
		"T1w.json\n{\"RepetitionTime\": 2, \"Manufacturer\": \"S\"}", "sub-2/anat/sub-2_T1w.json\n{\"RepetitionTime\": 3.5, \"ImageType\": [\"A\", \"B\"]}")
}

func TestWhere(t *testing.T) {
	const a, b, two, three, json = "sub-1/ses-a/anat/sub-1_ses-a_T1w.nii", "sub-1/ses-b/anat/sub-1_ses-b_T1w.nii", "sub-2/anat/sub-2_T1w.nii", "sub-3/anat/sub-3_T1w.nii", "sub-2/anat/sub-2_T1w.json"
	for text, want := range map[string][]string{
		`age > 30`:                     {a, two, json},
		`age > 30 and sex == "F"`:      {a},
		`sex == "F"`:                   {a, b, three},
		`age == nil`:                   {three},
		`not (age == nil)`:             {a, b, two, json},
		`age < 100 or sex == "F"`:      {a, b, two, three, json},
		`not (age < 100)`:              {three}, // a comparison with n/a does not hold
		`age + 1 > 32`:                 {two, json},
		`code == "01"`:                 {a, b}, // a column with text is text
		`patient`:                      {a, b, three},
		`$env["age at scan"] == 3`:     {three},
		`quality >= 3`:                 {a},
		`RepetitionTime > 2`:           {two, json},
		`RepetitionTime == 2`:          {a, b, three},
		`Manufacturer startsWith "S"`:  {a, b, two, three, json}, // inherited
		`"B" in ImageType`:             {two, json},
		`participant_id matches "1|2"`: {a, b, two, json},
	} {
		d := whereStudy()
		r, err := d.catalog().selectAlone(Selection{Where: text}, d.read)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		sameFiles(t, text, d.pathsOf(r.Primary), want)
	}
}

func TestWhereErrors(t *testing.T) {
	d := whereStudy()
	for _, text := range []string{`age >`, `age > "x"`, `age + 1`, `sex and age`, `)`} {
		var usage *filter.UsageError
		if _, err := d.catalog().selectAlone(Selection{Where: text}, d.read); !errors.As(err, &usage) || usage.Dimension != "where" {
			t.Errorf("%s: %v, want a UsageError", text, err)
		}
	}
	var none *NoMatchError
	if _, err := d.catalog().selectAlone(Selection{Where: "agee > 3"}, d.read); !errors.As(err, &none) || none.Unknown != "agee" || none.Nearest[0] != "age" || !strings.Contains(strings.Join(none.Advice(), "\n"), "columns of participants.tsv: participant_id, age, sex, code, patient") {
		t.Errorf("an unknown column: %#v", err)
	}
	if _, err := d.catalog().selectAlone(Selection{Where: "age > 300"}, d.read); !errors.As(err, &none) || !none.Emptied || none.Dimension != "where" {
		t.Errorf("nobody: %#v", err)
	}
	broken := func(i int) ([]byte, error) {
		if d.paths[i] == "participants.tsv" {
			return nil, errors.New("not here")
		}
		return d.read(i)
	}
	if _, err := d.catalog().selectAlone(Selection{Where: "age > 3"}, broken); err == nil || !strings.Contains(err.Error(), "participants.tsv") {
		t.Errorf("an unreadable table: %v", err)
	}
}

func TestColumnTypes(t *testing.T) {
	c, err := tsv.ParseColumns([]byte(schema.BOM+"participant_id\ta\tb\tc\td\r\n1\t1\t1\ttrue\tn/a\r\n\r\n2\t1e3\tx\tFALSE\t\r\n"), "participant_id", everyColumn)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]any{
		"participant_id": {"1", "2"}, "a": {1.0, 1000.0}, "b": {"1", "x"}, "c": {true, false}, "d": {nil, nil},
	} {
		if !slices.Equal(c.Cells[name], want) {
			t.Errorf("%s: %v, want %v", name, c.Cells[name], want)
		}
	}
}

func everyColumn(string) bool { return true }
