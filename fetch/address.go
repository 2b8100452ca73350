package fetch

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// ErrAddress says that a dataset's URL leads to an address that content may
// not come from: whoever made the dataset could otherwise make this machine
// ask its own network.
var ErrAddress = errors.New("address is not allowed")

// addresses decides which addresses may be connected to.
type addresses struct {
	all   bool
	allow []netip.Prefix
}

// refused are the networks that are not the public Internet
// (IANA's special-purpose address registries).
var refused = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"::/128", "::1/128", "64:ff9b:1::/48", "100::/64", "2001:db8::/32", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// parseAddresses reads what the user allows: addresses, networks, or "all".
func parseAddresses(list []string) (addresses, error) {
	var a addresses
	for _, s := range list {
		s = strings.TrimSpace(s)
		if s == "all" {
			a.all = true
			continue
		}
		if ip, err := netip.ParseAddr(s); err == nil {
			a.allow = append(a.allow, netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return a, fmt.Errorf("%q is no address, network, or \"all\"", s)
		}
		a.allow = append(a.allow, p.Masked())
	}
	return a, nil
}

func (a addresses) check(ip netip.Addr) error {
	ip = ip.Unmap().WithZone("")
	if a.all {
		return nil
	}
	for _, p := range a.allow {
		if p.Contains(ip) {
			return nil
		}
	}
	// An IPv4 address may hide in a translated or tunnelled IPv6 one.
	if inner, ok := embedded(ip); ok {
		if err := a.check(inner); err != nil {
			return err
		}
	}
	for _, p := range refused {
		if p.Contains(ip) {
			return fmt.Errorf("%w: %s belongs to %s; allow it with --allow-address %[2]s", ErrAddress, ip, p)
		}
	}
	return nil
}

// embedded returns the IPv4 address in a NAT64 or 6to4 address.
func embedded(ip netip.Addr) (netip.Addr, bool) {
	if !ip.Is6() {
		return netip.Addr{}, false
	}
	b := ip.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(ip):
		return netip.AddrFrom4([4]byte(b[12:])), true
	case netip.MustParsePrefix("2002::/16").Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}

// control checks the address of a connection that is about to be made, after
// names were resolved.
func (a addresses) control(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrAddress, address)
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrAddress, address)
	}
	return a.check(ip)
}
