package web

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestParseContentRange(t *testing.T) {
	for s, want := range map[string]string{
		"bytes 0-9/100": "0 9 100 true", "bytes 5-5/6": "5 5 6 true", "bytes 0-0/*": "0 0 -1 true", "bytes 0-9/9223372036854775807": "0 9 9223372036854775807 true",
		"": "0 0 0 false", "bytes */100": "0 0 0 false", "bytes 0-9": "0 0 0 false", "bytes=0-9/100": "0 0 0 false", "BYTES 0-9/100": "0 0 0 false",
		"bytes 9-0/100": "0 0 0 false", "bytes 0-100/100": "0 0 0 false", "bytes -1-9/100": "0 0 0 false", "bytes +1-9/100": "0 0 0 false", "bytes 0-9/x": "0 0 0 false",
		"bytes 0-9/9223372036854775808": "0 0 0 false", "bytes 0-9/-1": "0 0 0 false", "bytes 0 - 9/100": "0 0 0 false",
	} {
		start, end, total, ok := parseContentRange(s)
		if got := fmt.Sprint(start, end, total, ok); got != want {
			t.Errorf("%q is %s, want %s", s, got, want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Duration{
		"": 0, "soon": 0, "-1": 0, "1.5": 0, "3": 3 * time.Second, "0": time.Millisecond, "99999999999": maxRetryAfter,
		"Wed, 01 May 2024 12:00:10 GMT": 10 * time.Second, "Wed, 01 May 2024 11:00:00 GMT": time.Millisecond, "Wed, 01 May 2030 12:00:00 GMT": maxRetryAfter,
	} {
		if got := retryAfter(s, now); got != want {
			t.Errorf("%q is %v, want %v", s, got, want)
		}
	}
}

// A host that fails again and again is left alone, one that answers is not, and
// neither is any other.
func TestBreaker(t *testing.T) {
	var b breaker
	why := errors.New("no route")
	for n := range breakAfter {
		if err := b.check("a"); err != nil {
			t.Errorf("after %d failures: %v", n, err)
		}
		b.note("a", why)
	}
	err := b.check("b", "a")
	if !errors.Is(err, why) || !strings.Contains(err.Error(), "a is left alone") {
		t.Errorf("after %d failures: %v", breakAfter, err)
	}
	if err := b.check("b"); err != nil {
		t.Errorf("another host: %v", err)
	}
	b.note("a", nil)
	if err := b.check("a"); err != nil {
		t.Errorf("a host that answers: %v", err)
	}
	b.note("a", why)
	if err := b.check("a"); err != nil {
		t.Errorf("failures before it answered count: %v", err)
	}
	b.leave("http://a/x", time.Hour, why)
	if err := b.check("http://a/x"); !errors.Is(err, why) {
		t.Errorf("a URL that is to be left alone: %v", err)
	}
	b.leave("http://a/x", -time.Second, why)
	if err := b.check("http://a/x"); err != nil {
		t.Errorf("after its pause: %v", err)
	}
}

// Datasets choose the hosts: their number is bounded.
func TestBreakerIsBounded(t *testing.T) {
	var b breaker
	for n := range 3 * maxHosts {
		b.note(fmt.Sprint(n), errors.New("no"))
	}
	if len(b.hosts) > maxHosts {
		t.Errorf("%d hosts are remembered", len(b.hosts))
	}
}

func TestOddHosts(t *testing.T) {
	for host, want := range map[string]bool{
		"2130706433": true, "0x7f.1": true, "127.1": true, "0x7F000001": true, "1.": true, "a.0x": true,
		"example.org": false, "example.org.": false, "0xg": false, "1a": false, "a.b1": false, "": false,
	} {
		if endsInNumber(host) != want {
			t.Errorf("%q ends in a number: %v", host, !want)
		}
	}
}

// What the pace judges is the time in which the server could send.
func TestPaceCountsTheServersTimeOnly(t *testing.T) {
	const timeout = time.Hour
	hour := func(p *pace) *pace { p.began = time.Now().Add(-timeout - time.Second); return p }
	if hour(&pace{}).judge(timeout) != 0 {
		t.Error("nothing came in all that time, and it goes on")
	}
	if hour(&pace{moved: minSpeed * 3601}).judge(timeout) != timeout {
		t.Error("enough came, and it is judged before the next hour has passed")
	}
	if next := hour(&pace{idle: 50 * time.Minute}).judge(timeout); next < 45*time.Minute || next > 51*time.Minute {
		t.Errorf("the server had ten minutes, and is judged again in %v", next)
	}
	if next := hour(&pace{held: time.Now().Add(-30 * time.Minute)}).judge(timeout); next < 25*time.Minute || next > 31*time.Minute {
		t.Errorf("the taker has been busy for half an hour, and the server is judged again in %v", next)
	}
}
