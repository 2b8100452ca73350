package maker

// Sample is a small dataset with a bit of everything, at three remotes below a URL.
func Sample(url string) Dataset {
	return Dataset{
		Name: "small",
		Files: []File{
			{Path: "README", Data: []byte("hello\n")},
			{Path: "sub-01/anat/sub-01_T1w.nii.gz", Size: 70_001, Seed: 1, Annexed: true, Remotes: []string{"s3"}},
			{Path: "sub-01/anat/sub-01_T2w.nii.gz", Size: 300, Seed: 2, Annexed: true, Unlocked: true, Backend: "MD5E"},
			{Path: "sub-01/anat/twin.nii.gz", Size: 70_001, Seed: 1, Annexed: true, Remotes: []string{"s3"}},
			{Path: "sub-01/a file with ümlaut & more.dat", Size: 9, Seed: 3, Annexed: true, Backend: "SHA1"},
			{Path: "web.bin", Size: 5000, Seed: 4, Annexed: true, Remotes: []string{"web"}},
			{Path: "exported.tar.gz", Size: 6000, Seed: 5, Annexed: true, Remotes: []string{"plain"}, Backend: "SHA512E"},
			{Path: "empty.dat", Annexed: true},
			{Path: "sub-01.d/x", Data: []byte("sorts between")},
			{Path: "link", Link: "sub-01/anat"},
		},
		Remotes: []Remote{
			{Name: "s3", Kind: Versioned, URL: url + "/openneuro.org"},
			{Name: "plain", Kind: Export, URL: url + "/plain"},
			{Name: "web", Kind: Web, URL: url + "/web"},
		},
		Earlier: []Version{{Tag: "0.9.0", Files: []File{
			{Path: "README", Data: []byte("hi\n")},
			{Path: "sub-01/anat/sub-01_T1w.nii.gz", Size: 70_001, Seed: 9, Annexed: true, Remotes: []string{"s3"}},
		}}},
		Tags: []string{"1.0.0", "latest"},
	}
}
