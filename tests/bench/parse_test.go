package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func testdata(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The outputs in testdata are those of iperf 3.12 and sockperf 3.7 over a veth
// pair.
func TestParseIperf(t *testing.T) {
	tcp, err := parseIperf(testdata(t, "iperf-tcp.json"))
	if err != nil {
		t.Fatal(err)
	}
	if want := (iperfResult{10653292283.9932, 1341652992, 1.007503, 0, 0, "bbr"}); tcp != want {
		t.Errorf("TCP: %+v, want %+v", tcp, want)
	}
	udp, err := parseIperf(testdata(t, "iperf-udp.json"))
	if err != nil {
		t.Fatal(err)
	}
	if udp.Packets != 135220 || udp.Lost != 54981 || int(udp.received()) != 80222 {
		t.Errorf("UDP: %+v, %.0f packets/s", udp, udp.received())
	}
}

func TestParseIperfErrors(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"the program's error": {string(testdata(t, "iperf-error.json")), "unable to connect to server"},
		"no JSON":             {"iperf3: bad option", "invalid character"},
		"nothing at all":      {"", "unexpected end"},
		"no sum":              {`{"end":{}}`, "no sum_received"},
		"nothing received":    {`{"end":{"sum_received":{"seconds":1,"bytes":0}}}`, "nothing was received"},
		"no time":             {`{"end":{"sum_received":{"seconds":0,"bytes":10}}}`, "nothing was received"},
	} {
		if _, err := parseIperf([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestParseSockperf(t *testing.T) {
	text := testdata(t, "sockperf-pingpong.txt")
	r, err := parseSockperf(text)
	if err != nil {
		t.Fatal(err)
	}
	if want := (sockperfResult{10.439, 64.329, 11410}); r != want {
		t.Errorf("%+v, want %+v", r, want)
	}
	for _, bad := range []string{"", "sockperf: ERROR: connection refused",
		strings.ReplaceAll(string(text), "percentile 99.000", "percentile 98.000"),
		strings.ReplaceAll(string(text), "Total 11410 observations", "Total 0 observations")} {
		if r, err := parseSockperf([]byte(bad)); err == nil {
			t.Errorf("%.30q: no error, %+v", bad, r)
		}
	}
}

func TestParsePing(t *testing.T) {
	ms, err := parsePing("PING 10.77.0.2 (10.77.0.2) 56(84) bytes of data.\n64 bytes from 10.77.0.2: icmp_seq=1 ttl=64 time=0.925 ms\n")
	if err != nil || ms != 0.925 {
		t.Errorf("%v, %v", ms, err)
	}
	for _, bad := range []string{"", "time=", "time=x ms"} {
		if _, err := parsePing(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestParseProc(t *testing.T) {
	if d, err := parseSchedstat("123456789 42 7\n"); err != nil || d != 123456789*time.Nanosecond {
		t.Errorf("schedstat: %v, %v", d, err)
	}
	const stat = "cpu  380778 0 177307 1767544 5214 3 14612 61554 0 0\ncpu0 185722 0 88015 891269 1356 0 6389 30818 0 0\n"
	if d, err := parseInterruptTime(stat); err != nil || d != 146150*time.Millisecond {
		t.Errorf("interrupts: %v, %v", d, err)
	}
	if d, err := parseBusy(stat); err != nil || d != (3807780+1773070+615540)*time.Millisecond {
		t.Errorf("busy: %v, %v", d, err)
	}
	const status = "Name:\tipoib\nVmHWM:\t   90036 kB\nVmRSS:\t   80036 kB\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t545\n"
	for field, want := range map[string]int64{"VmRSS": 80036, "voluntary_ctxt_switches": 150} {
		if n, err := parseStatus(status, field); err != nil || n != want {
			t.Errorf("%s: %d, %v", field, n, err)
		}
	}
	if _, err := parseStatus(status, "VmSwap"); err == nil {
		t.Error("a field that is missing was found")
	}
	for _, bad := range []string{"", "intr 1 2 3", "cpu 1 2 3", "cpu a b c d e f g h"} {
		if _, err := parseInterruptTime(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
		if _, err := parseBusy(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
	if _, err := parseSchedstat("x"); err == nil {
		t.Error("schedstat: no error")
	}
}

// A listener counts, a connection of the same port does not.
func TestHasSocket(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue
   0: 00000000:2B67 00000000:0000 0A 00000000:00000000
   1: 0100007F:1451 0100007F:C350 01 00000000:00000000
`
	for port, want := range map[int]bool{11111: true, 5201: false, 80: false} {
		if got := hasSocket([]byte(table), port); got != want {
			t.Errorf("port %d: %v", port, got)
		}
	}
}

// What is read from /proc is that of this process.
func TestOwnProcess(t *testing.T) {
	cpu, err := cpuTime(os.Getpid())
	if err != nil || cpu <= 0 {
		t.Errorf("CPU time %v, %v", cpu, err)
	}
	mib, err := memory(os.Getpid())
	if err != nil || mib < 1 || mib > 1<<20 {
		t.Errorf("memory %v MiB, %v", mib, err)
	}
	if _, err := cpuTime(1 << 30); err == nil {
		t.Error("a process that is not there has CPU time")
	}
}

func TestCPUModel(t *testing.T) {
	if got := cpuModel("processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n"); got != "AMD EPYC" {
		t.Errorf("%q", got)
	}
	if got := cpuModel(""); got == "" {
		t.Error("no fallback")
	}
}

func TestVersionNumber(t *testing.T) {
	for text, want := range map[string]string{
		"iperf 3.12 (cJSON 1.7.15)":              "3.12",
		"sockperf, version 3.7-no.git":           "3.7-no.git",
		"ipoib version d92fa5e":                  "d92fa5e",
		"ipoib version v1.2.0-3-gd92fa5e-dirty":  "v1.2.0-3-gd92fa5e-dirty",
		"ipoib version 1234567-dirty (go1.26.8)": "1234567-dirty",
	} {
		if got := versionNumber.FindString(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestBatchLines(t *testing.T) {
	if got, want := string(batchLines(2, addChild)),
		"link add link ib0 name ib0.8001 type ipoib pkey 0x8001\nlink add link ib0 name ib0.8002 type ipoib pkey 0x8002\n"; got != want {
		t.Errorf("%q", got)
	}
	if got := string(batchLines(1, deleteChild)); got != "link del ib0.8001\n" {
		t.Errorf("%q", got)
	}
}

func TestOthers(t *testing.T) {
	start := time.Unix(100, 0)
	from := usage{start, 10 * time.Second, 4 * time.Second}
	for _, c := range []struct {
		to   usage
		want float64
	}{
		{usage{start.Add(2 * time.Second), 13 * time.Second, 6 * time.Second}, 0.25}, // 1 s of 2 s on 2 CPUs
		{usage{start.Add(2 * time.Second), 12 * time.Second, 6 * time.Second}, 0},
		{usage{start.Add(2 * time.Second), 11 * time.Second, 6 * time.Second}, 0}, // ticks are coarse
		{usage{start, 13 * time.Second, 6 * time.Second}, 0},
	} {
		if got := c.to.others(from, 2); got != c.want {
			t.Errorf("%+v: %v, want %v", c.to, got, c.want)
		}
	}
	u, err := new(target).usage()
	if err != nil || u.busy <= 0 || u.own <= 0 {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestParseCounter(t *testing.T) {
	const text = `[{"ifindex":2,"dev":"ib0","counters":[{"name":"rx_packets","value":7},{"name":"rx_events","value":5}],"drops":[]}]`
	if v, ok, err := parseCounter([]byte(text), "rx_events"); v != 5 || !ok || err != nil {
		t.Errorf("%v, %v, %v", v, ok, err)
	}
	if v, ok, err := parseCounter([]byte(text), "rx_more"); ok || err != nil {
		t.Errorf("a counter that is not there: %v, %v", v, err)
	}
	if _, _, err := parseCounter([]byte("ipoib: no"), "rx_events"); err == nil {
		t.Error("no error")
	}
}
