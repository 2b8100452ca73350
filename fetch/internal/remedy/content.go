package remedy

import (
	"regexp"
	"slices"
)

// contentRemedies are recognised in why a file's content cannot be had.
var contentRemedies = []struct {
	says *regexp.Regexp
	do   []string
}{
	{regexp.MustCompile(`x509:|certificate|tls: `), []string{
		"update the system's certificates: apt-get install ca-certificates (and check the clock: date)",
		"behind an institution's proxy, trust its certificate: export SSL_CERT_FILE=/path/to/ca.pem",
	}},
	{regexp.MustCompile(`proxyconnect|407 Proxy|the proxy says`), []string{
		"check the proxy: env | grep -i proxy",
		"without a proxy: unset http_proxy https_proxy all_proxy",
	}},
	{regexp.MustCompile(`the server says 40[13]|[Aa]uthentication|credentials`), []string{
		"the content is not public: get access from its publisher, set it up for git-annex, and use --fetcher annex",
	}},
	{regexp.MustCompile(`no source is known`), []string{
		"some datasets need git-annex to fetch their content: apt-get install git-annex",
	}},
	{regexp.MustCompile(`connection refused|no such host|network is unreachable|no route to host|next to nothing|left alone|i/o timeout|server misbehaving`), []string{
		"check the network connection",
	}},
	{regexp.MustCompile(`is not allowed|--allow-address`), []string{
		"content comes from public addresses only; if you trust this one: --allow-address ADDRESS",
	}},
}

// OfContent returns what to do about files whose content could not be had for
// these reasons, each piece of advice once. annex says whether git-annex is here.
func OfContent(reasons []string, annex bool) (do []string) {
	for _, r := range contentRemedies {
		if r.says.MatchString(`no source is known`) && annex {
			continue
		}
		if slices.ContainsFunc(reasons, r.says.MatchString) {
			do = append(do, r.do...)
		}
	}
	return do
}
