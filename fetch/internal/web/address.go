package web

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

// refused are the networks that are not the public Internet: IANA's registries
// of special-purpose addresses, of multicast, and of IPv6 space, where only
// 2000::/3 was ever given out. What the registries call globally reachable by
// anycast or for a protocol has no content either. The narrower ones come first:
// errors name them.
var refused = prefixes(
	"0.0.0.0/8",       // this host on this network
	"10.0.0.0/8",      // private
	"100.64.0.0/10",   // shared by a provider's customers
	"127.0.0.0/8",     // loopback
	"169.254.0.0/16",  // link-local, and the metadata of clouds
	"172.16.0.0/12",   // private
	"192.0.0.0/24",    // protocol assignments
	"192.0.2.0/24",    // documentation
	"192.31.196.0/24", // AS112
	"192.52.193.0/24", // AMT
	"192.88.99.0/24",  // relays to 6to4
	"192.168.0.0/16",  // private
	"192.175.48.0/24", // AS112
	"198.18.0.0/15",   // benchmarks
	"198.51.100.0/24", // documentation
	"203.0.113.0/24",  // documentation
	"224.0.0.0/4",     // multicast
	"240.0.0.0/4",     // reserved, and broadcast

	"::1/128",           // loopback
	"::/128",            // unspecified
	"::/96",             // IPv4-compatible
	"::ffff:0:0:0/96",   // IPv4-translated
	"64:ff9b:1::/48",    // NAT64 of one's own network
	"100::/64",          // discard only
	"100:0:0:1::/64",    // dummy
	"2001::/32",         // Teredo
	"2001::/23",         // protocol assignments: benchmarks, AMT, AS112, ORCHID, drones
	"2001:db8::/32",     // documentation
	"2620:4f:8000::/48", // AS112
	"3fff::/20",         // documentation
	"5f00::/16",         // segment routing
	"fc00::/7",          // unique local
	"fe80::/10",         // link-local
	"fec0::/10",         // site-local
	"ff00::/8",          // multicast
	"::/3", "4000::/2", "8000::/1",
)

// nat64 holds all IPv4 addresses; what they embed decides.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

var sixToFour = netip.MustParsePrefix("2002::/16")

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
		return a.check(inner)
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
	case nat64.Contains(ip):
		return netip.AddrFrom4([4]byte(b[12:])), true
	case sixToFour.Contains(ip):
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

// endsInNumber reports whether a resolver might take a host that is no address
// for one, such as 2130706433, 0x7f.1 or 127.1.
func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	if hex, ok := strings.CutPrefix(strings.ToLower(last), "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// checkHost refuses the host of a URL where it spells an address that is not allowed.
func (a addresses) checkHost(host string) error {
	if ip, err := netip.ParseAddr(host); err == nil {
		return a.check(ip)
	}
	if endsInNumber(host) {
		return fmt.Errorf("%w: %.80q is an odd way to write one", ErrAddress, host)
	}
	if host := strings.ToLower(strings.TrimSuffix(host, ".")); !a.all && (host == "localhost" || strings.HasSuffix(host, ".localhost")) {
		return a.check(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	return nil
}

// CheckHost refuses a host that spells an address which is neither public nor allowed,
// as in [Options]. Names are not resolved.
func CheckHost(allow []string, host string) error {
	a, err := parseAddresses(allow)
	if err != nil {
		return err
	}
	return a.checkHost(host)
}
