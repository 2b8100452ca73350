package bids

import (
	"slices"
	"testing"
)

// TestCompanions has one case for each rule: what comes along with a file, in
// full and when only what is required is asked for. Files marked with "!" must
// stay away.
func TestCompanions(t *testing.T) {
	type test struct {
		query    string
		primary  []string
		required []string // at both levels
		full     []string // at the full level only
		away     []string
	}
	const (
		a = "sub-1/anat/sub-1"
		f = "sub-1/func/sub-1_task-r"
		m = "sub-1/fmap/sub-1"
		d = "sub-1/dwi/sub-1"
		e = "sub-1/eeg/sub-1"
		g = "sub-1/meg/sub-1"
		p = "sub-1/perf/sub-1"
	)
	for name, test := range map[string]test{
		"R1 sidecars at all levels": {"suffix=bold ext=.nii", []string{f + "_run-01_bold.nii"},
			[]string{f + "_run-1_bold.json", "sub-1/sub-1_task-r_bold.json", "task-r_bold.json", "bold.json"}, nil,
			[]string{f + "_run-2_bold.json", "task-x_bold.json", "sub-2/sub-2_bold.json"}},
		"R2 events":        {"suffix=bold", []string{f + "_run-1_bold.nii"}, []string{f + "_run-1_events.tsv", "task-r_events.tsv", "task-r_events.json"}, nil, []string{f + "_run-2_events.tsv"}},
		"R2 events of EMG": {"suffix=emg", []string{"sub-1/emg/sub-1_task-r_recording-a_emg.edf"}, []string{"sub-1/emg/sub-1_task-r_recording-b_events.tsv"}, nil, nil},
		"R3 physio":        {"suffix=bold", []string{f + "_bold.nii"}, nil, []string{f + "_recording-eye_physio.tsv.gz", f + "_physio.json", f + "_stim.tsv.gz", "physio.json"}, []string{f + "_run-1_physio.tsv.gz"}},
		"R4 gradients":     {"suffix=dwi ext=.nii.gz", []string{d + "_dwi.nii.gz"}, []string{d + "_dwi.bval", "dwi.bvec"}, nil, []string{d + "_acq-x_dwi.bval"}},
		"R5 sensors": {"suffix=eeg ext=.edf", []string{e + "_task-r_eeg.edf"},
			[]string{e + "_task-r_channels.tsv", e + "_space-X_electrodes.tsv", e + "_space-X_coordsystem.json", "channels.json"}, nil, []string{e + "_task-x_channels.tsv"}},
		"R5 optodes":     {"suffix=nirs", []string{"sub-1/nirs/sub-1_task-r_nirs.snirf"}, []string{"sub-1/nirs/sub-1_optodes.tsv", "sub-1/nirs/sub-1_coordsystem.json"}, nil, nil},
		"R6 coordinates": {"suffix=electrodes", []string{e + "_space-X_electrodes.tsv"}, []string{e + "_space-X_coordsystem.json"}, nil, []string{e + "_space-Y_coordsystem.json"}},
		"R7 head": {"suffix=meg ext=.fif task=r", []string{g + "_task-r_meg.fif"},
			[]string{g + "_acq-ECG_headshape.pos", g + "_acq-x_markers.sqd", g + "_acq-calibration_meg.dat", g + "_acq-crosstalk_meg.fif"}, nil, []string{g + "_task-x_meg.fif"}},
		"R8 format":  {"ext=.vhdr", []string{e + "_eeg.vhdr"}, []string{e + "_eeg.vmrk", e + "_eeg.eeg"}, nil, []string{e + "_eeg.set", e + "_acq-x_eeg.eeg"}},
		"R9 split":   {"split=1", []string{g + "_task-r_split-01_meg.fif"}, []string{g + "_task-r_split-02_meg.fif"}, nil, []string{g + "_task-x_split-02_meg.fif"}},
		"R10 asl":    {"suffix=asl", []string{p + "_asl.nii"}, []string{p + "_aslcontext.tsv", p + "_dir-AP_m0scan.nii", p + "_asllabeling.jpg"}, nil, []string{p + "_acq-x_m0scan.nii"}},
		"R11 m0scan": {"suffix=m0scan ext=.nii", []string{p + "_m0scan.nii"}, []string{p + "_m0scan.json\n{\"IntendedFor\": \"bids::" + p + "_asl.nii\"}", p + "_asl.nii", p + "_aslcontext.tsv"}, nil, nil},
		"R12 fieldmap": {"suffix=phasediff", []string{m + "_run-1_phasediff.nii"}, []string{m + "_run-01_magnitude1.nii", m + "_run-1_magnitude2.nii", m + "_run-1_magnitude2.json"}, nil,
			[]string{m + "_run-2_magnitude1.nii", m + "_run-1_magnitude.nii"}},
		"R12 magnitude": {"suffix=fieldmap", []string{m + "_fieldmap.nii"}, []string{m + "_magnitude.nii"}, nil, []string{m + "_magnitude1.nii"}},
		"R13 epi":       {"dir=AP suffix=epi", []string{m + "_dir-AP_epi.nii"}, nil, []string{m + "_dir-PA_epi.nii"}, []string{m + "_acq-x_dir-PA_epi.nii"}},
		"R14 blood":     {"suffix=pet", []string{"sub-1/pet/sub-1_pet.nii"}, []string{"sub-1/pet/sub-1_recording-manual_blood.tsv", "sub-1/pet/sub-1_recording-manual_blood.json"}, nil, nil},
		"R15 reference": {"suffix=bold", []string{f + "_echo-1_bold.nii"}, nil, []string{f + "_sbref.nii", f + "_echo-1_sbref.nii"}, []string{f + "_echo-2_sbref.nii"}},
		"R16 IntendedFor": {"suffix=bold", []string{"sub-1/ses-a/func/sub-1_ses-a_task-r_bold.nii"}, nil,
			[]string{"sub-1/ses-a/fmap/sub-1_ses-a_epi.nii", "sub-1/ses-a/fmap/sub-1_ses-a_epi.json\n{\"IntendedFor\": [\"ses-a/func/sub-1_ses-a_task-r_bold.nii\"]}"},
			[]string{"sub-1/ses-a/fmap/sub-1_ses-a_acq-x_epi.nii", "sub-1/ses-a/fmap/sub-1_ses-a_acq-x_epi.json\n{\"IntendedFor\": \"nothing\"}"}},
		"R17 B0 field": {"suffix=bold ext=.nii", []string{f + "_bold.nii"}, []string{f + "_bold.json\n{\"B0FieldSource\": [\"pepolar\"]}"},
			[]string{m + "_acq-y_epi.nii", m + "_acq-y_epi.json\n{\"B0FieldIdentifier\": \"pepolar\"}"}, []string{m + "_acq-z_epi.nii", m + "_acq-z_epi.json\n{\"B0FieldIdentifier\": \"other\"}"}},
		"R18 empty room": {"sub=1 suffix=meg ext=.ds", []string{g + "_task-r_meg.ds/x.meg4"},
			[]string{g + "_task-r_meg.json\n{\"AssociatedEmptyRoom\": \"sub-emptyroom/ses-1/meg/sub-emptyroom_ses-1_task-noise_meg.ds\"}", "sub-emptyroom/ses-1/meg/sub-emptyroom_ses-1_task-noise_meg.ds/y.meg4", "sub-emptyroom/ses-1/meg/sub-emptyroom_ses-1_task-noise_meg.json"}, nil,
			[]string{"sub-emptyroom/ses-2/meg/sub-emptyroom_ses-2_task-noise_meg.ds/z.meg4"}},
		"R19 stimuli":     {"suffix=bold", []string{f + "_bold.nii"}, []string{f + "_events.tsv\nonset\tstim_file\r\n1\tpics/a.png\r\n2\tn/a\r\n", "stimuli/pics/a.png"}, nil, []string{"stimuli/pics/b.png"}},
		"R20 photo":       {"ext=.edf", []string{e + "_task-r_eeg.edf"}, nil, []string{e + "_photo.jpg"}, []string{e + "_task-x_photo.jpg"}},
		"R20 sample":      {"suffix=SEM", []string{"sub-1/micr/sub-1_sample-A_SEM.png"}, nil, []string{"sub-1/micr/sub-1_sample-A_photo.jpg"}, []string{"sub-1/micr/sub-1_sample-B_photo.jpg"}},
		"R21 atlas":       {"suffix=dseg ext=.nii", []string{a + "_atlas-X_dseg.nii"}, []string{"atlas-X_description.json", "atlas-X_dseg.tsv"}, nil, []string{"atlas-Y_description.json"}},
		"R22 tables":      {"suffix=T1w", []string{"sub-1/ses-a/anat/sub-1_ses-a_T1w.nii"}, []string{"sub-1/sub-1_sessions.tsv\nsession_id\nses-a\n", "sub-1/ses-a/sub-1_ses-a_scans.json", "sub-1/ses-a/sub-1_ses-a_scans.tsv\nfilename\nanat/sub-1_ses-a_T1w.nii\n", "scans.json"}, nil, []string{"sub-1/ses-b/sub-1_ses-b_scans.tsv\nfilename\n"}},
		"R23 about all":   {"suffix=T1w", []string{a + "_T1w.nii"}, []string{"participants.tsv\nparticipant_id\nsub-1\n", "participants.json", "README", "phenotype/x.json"}, nil, nil},
		"within a filter": {"sub=1 ses=a suffix=bold", []string{"sub-1/ses-a/func/sub-1_ses-a_bold.nii"}, nil, nil, []string{"sub-1/ses-b/fmap/sub-1_ses-b_epi.nii", "sub-1/ses-b/fmap/sub-1_ses-b_epi.json\n{\"IntendedFor\": \"ses-a/func/sub-1_ses-a_bold.nii\"}"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := made(slices.Concat(test.primary, test.required, test.full, test.away)...)
			written(test.primary)
			written(test.required)
			written(test.full)
			for level, want := range map[Companions][]string{Full: slices.Concat(test.primary, test.required, test.full), Required: slices.Concat(test.primary, test.required)} {
				s := parse(t, test.query)
				s.Companions = level
				r, err := d.catalog().selectAlone(s, d.read)
				if err != nil {
					t.Fatal(err)
				}
				sameFiles(t, "primary", d.pathsOf(r.Primary), test.primary)
				sameFiles(t, level.String(), d.pathsOf(r.Files), want)
			}
		})
	}
}
