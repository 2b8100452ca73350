package web

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/netip"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/uniharmony/uniharmonyfs/internal/publisher"
	"github.com/uniharmony/uniharmonyfs/internal/source/sourcetest"
)

var quiet = log.New(io.Discard, "", 0)

func mustAllow(t testing.TB, list ...string) addresses {
	t.Helper()
	a, err := parseAddresses(list)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func mustURL(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// Only the public Internet is dialled: one address of every network of the
// registries, and each way in which one hides in another.
func TestAddressesThatAreNotPublicAreRefused(t *testing.T) {
	for _, s := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255",
		"192.0.0.1", "192.0.0.170", "192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.1.1", "192.175.48.6", "198.18.0.1", "198.19.255.255",
		"198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::7f00:1", "::8.8.8.8", "::10.0.0.1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::ffff:0:10.0.0.1",
		"64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::1", "64:ff9b:1:abcd::8.8.8.8", "64:ff9b:0:1::1",
		"100::1", "100:0:0:1::1", "2001::1", "2001:0:a00:1::1", "2001:2::1", "2001:3::1", "2001:4:112::1", "2001:10::1", "2001:20::1", "2001:30::1", "2001:db8::1",
		"2002:a00:1::1", "2002:7f00:1::", "2002:c0a8:101::1", "2002:a9fe:a9fe::1", "2620:4f:8000::1", "3fff::1", "5f00::1",
		"fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "ff02::1", "1000::1", "4000::1", "8000::1", "e000::1",
	} {
		err := addresses{}.check(netip.MustParseAddr(s))
		if !errors.Is(err, ErrAddress) {
			t.Errorf("%s is allowed", s)
		}
		if err := mustAllow(t, "all").check(netip.MustParseAddr(s)); err != nil {
			t.Errorf("%s with all allowed: %v", s, err)
		}
	}
	for _, s := range []string{
		"8.8.8.8", "1.1.1.1", "52.216.0.1", "100.63.255.255", "100.128.0.1", "172.32.0.1", "192.0.1.1", "223.255.255.255", "::ffff:8.8.8.8",
		"64:ff9b::8.8.8.8", "2002:808:808::1", "2001:4860:4860::8888", "2600:1f18::1", "2a00:1450::1", "2620:4f:8001::1", "3000::1",
	} {
		if err := (addresses{}).check(netip.MustParseAddr(s)); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestAllowedAddresses(t *testing.T) {
	a := mustAllow(t, "10.0.0.0/8", " ::1 ", "::ffff:192.168.1.1")
	for s, ok := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "64:ff9b::10.1.2.3": true, "::1": true, "192.168.1.1": true,
		"192.168.1.2": false, "::2": false, "172.16.0.1": false, "8.8.8.8": true,
	} {
		if err := a.check(netip.MustParseAddr(s)); (err == nil) != ok {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{"", "10", "10.0.0.0/33", "example.org", "ALL"} {
		if _, err := parseAddresses([]string{s}); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
}

// names makes this process ask a name server that answers with these
// addresses, one after the other, the last for ever.
func names(t *testing.T, answers ...string) {
	t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil {
				continue
			}
			m.Response = true
			m.Additionals = nil
			q := m.Questions[0]
			ip := netip.MustParseAddr(answers[min(int(asked.Load()), len(answers)-1)])
			h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, Type: q.Type}
			if q.Type == dnsmessage.TypeA && ip.Is4() {
				m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AResource{A: ip.As4()}}}
				asked.Add(1)
			} else if q.Type == dnsmessage.TypeAAAA && ip.Is6() {
				m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AAAAResource{AAAA: ip.As16()}}}
				asked.Add(1)
			}
			if out, err := m.Pack(); err == nil {
				pc.WriteTo(out, from)
			}
		}
	}()
	t.Cleanup(func() { pc.Close(); <-done })
	before := net.DefaultResolver
	var d net.Dialer
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "udp4", pc.LocalAddr().String())
	}}
	t.Cleanup(func() { net.DefaultResolver = before })
}

// A name is judged by the address that is connected to, each time: one that
// leads here, or does so the second time only (rebinding), is not followed.
func TestNamesThatLeadInsideAreRefused(t *testing.T) {
	for _, inside := range []string{"127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1", "64:ff9b::7f00:1"} {
		names(t, inside)
		src := &Source{c: client(t, 5*time.Second, "192.0.2.7"), url: "http://rebind.example.org/a", size: 3}
		start := time.Now()
		err := sourcetest.Fetch(t, src, []byte("abc"), 0, 3)
		sourcetest.WantClass(t, err, false, "not allowed")
		if !errors.Is(err, ErrAddress) {
			t.Error(err)
		}
		if d := time.Since(start); d > 3*time.Second {
			t.Errorf("%s: after %v", inside, d)
		}
	}
}

// A name that was public when it was looked at first, and leads inside when the
// connection broke.
func TestRebindingAfterADropIsRefused(t *testing.T) {
	s, content, src := published(t, 1000, 5*time.Second)
	u := mustURL(t, src.url)
	names(t, "127.0.0.1", "127.0.0.2") // the first is allowed, the second is not
	src.url = "http://rebind.example.org:" + u.Port() + u.RequestURI()
	s.SetFault(publisher.Always(publisher.Drop(400)))
	err := sourcetest.Fetch(t, src, content, 0, 1000)
	sourcetest.WantClass(t, err, false, "not allowed")
	if !errors.Is(err, ErrAddress) {
		t.Error(err)
	}
}
