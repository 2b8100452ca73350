package fetch

import (
	"context"
	"os/exec"
	"strings"

	"github.com/uniharmony/uniharmonyfs/fetch/internal/gitannex"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/program"
	"github.com/uniharmony/uniharmonyfs/fetch/internal/remedy"
)

// GitVersion returns the version of the git program, or "" when there is none.
func GitVersion(ctx context.Context) string {
	path := FindGit()
	if path == "" {
		return ""
	}
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(strings.TrimSpace(string(out)), "git version ")
}

// AnnexVersion returns the version of git-annex ("10.20230126"), or "" when
// there is none.
func AnnexVersion(ctx context.Context) string {
	path := AnnexProgram()
	if path == "" {
		return ""
	}
	out, err := exec.CommandContext(ctx, path, "version", "--raw").Output()
	if err != nil {
		return ""
	}
	version, _, _ := strings.Cut(strings.TrimSpace(string(out)), "-")
	return version
}

// readsPublicURL is the first git-annex that reads S3 remotes with public=no
// through their publicurl, as OpenNeuro has them.
const readsPublicURL = "10.20240227"

// AnnexLacks says what a version of git-annex cannot do, for people.
func AnnexLacks(version string) string {
	if version != "" && older(version, readsPublicURL) {
		return "it cannot fetch from S3 remotes with public=no, as newer OpenNeuro datasets have them; such files are fetched by URL without it (--fetcher auto)"
	}
	return ""
}

// older compares versions of git-annex, as 10.20240227: of what comes first, 8 is
// older than 10.
func older(a, b string) bool {
	one, rest, _ := strings.Cut(a, ".")
	two, other, _ := strings.Cut(b, ".")
	if one != two {
		return len(one) < len(two) || len(one) == len(two) && one < two
	}
	return rest < other
}

// ContentAdvice returns what to do about files whose content could not be had
// for these reasons, each piece of advice once.
func ContentAdvice(reasons []string) []string { return remedy.OfContent(reasons, AnnexProgram() != "") }

// FindGit returns the path of the git program, or "" when there is none.
func FindGit() string { return program.FindGit() }

// AnnexProgram returns the path of git-annex, or "" when there is none.
func AnnexProgram() string { return gitannex.Path() }
