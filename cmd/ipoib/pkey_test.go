package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestPKeyExplain checks what is said of each sort of P_Key, against the
// driver's transcripts for the names that create_child gives.
func TestPKeyExplain(t *testing.T) {
	for _, tc := range []struct {
		args string
		want []string
	}{
		{"0x8001", []string{
			"P_Key 0x8001 (32769): full member of partition 0x0001.",
			"sysfs             ib0.8001 ", "ipoib link add ib0.8001",
			"broadcast address 00:ff:ff:ff:ff:12:40:1b:80:01:00:00:00:00:00:00:ff:ff:ff:ff",
			"ff12:401b:8001::ffff:ffff ", "ff12:401b:8001::1 ", "ff12:601b:8001::1 ", "ff12:601b:8001::1:ffXX:XXXX",
		}},
		{"0x0001", []string{
			"limited member of partition 0x0001", "only full members (0x8001)", "its pkey is 0x8001",
			"sysfs             ib0.0001 ", "ipoib             ib0.8001 ", "network-scripts   ib0.8001 ", "ff12:401b:8001::ffff:ffff",
			"NAME=0x0001, ipoib : GUID=limited;",
		}},
		// What `echo 8004 > create_child` makes.
		{"8004", []string{"P_Key 0x1f44 (8004)", "sysfs             ib0.1f44 ", "8004 was read as a decimal number", "Hexadecimal is 0x8004"}},
		{"ib7.8010", []string{"P_Key 0x8010", "ib7.8010", "/sys/class/net/ib7/create_child"}},
		{"--parent averylongibname 0x8001", []string{"sysfs             averylongi.8001 "}},
		{"0xffff", []string{"default partition", "Name not unique on network"}},
		{"0100001", []string{"P_Key 0x8001"}},
	} {
		code, out, errOut := runApp(t, append([]string{"pkey", "explain"}, strings.Fields(tc.args)...)...)
		if code != 0 || errOut != "" {
			t.Errorf("%s: code %d, %s", tc.args, code, errOut)
		}
		for _, w := range tc.want {
			if !strings.Contains(out, w) {
				t.Errorf("%s: no %q in\n%s", tc.args, w, out)
			}
		}
	}
	_, out, _ := runApp(t, "pkey", "explain", "-j", "0x7fff")
	var x struct {
		PKey, Partition, Membership string
		Interface                   string `json:"interface_pkey"`
		Names                       []struct{ Tool, Name string }
		Groups                      []struct{ MGID, Group string }
	}
	if err := json.Unmarshal([]byte(out), &x); err != nil {
		t.Fatal(err)
	}
	if x.PKey != "0x7fff" || x.Partition != "0x7fff" || x.Membership != "limited" || x.Interface != "0xffff" ||
		len(x.Names) != 7 || len(x.Groups) != 4 || x.Groups[1].MGID != "ff12:401b:ffff::1" {
		t.Errorf("%+v", x)
	}
}

func TestPKeyExplainErrors(t *testing.T) {
	for args, want := range map[string]string{
		"0":         "P_Key 0x0000 is in no partition",
		"0x8000":    "P_Key 0x8000 is in no partition",
		"0x10000":   "a P_Key has 16 bits",
		"-1":        "Incorrect Usage",
		"0x80_01":   "is not a P_Key",
		"ib0.801":   "is not a P_Key",
		"ib0.80011": "is not a P_Key",
		"zzz":       "is not a P_Key",
		"":          "Usage: ipoib pkey explain",
		"1 2":       "Usage: ipoib pkey explain",
	} {
		code, out, errOut := runApp(t, append([]string{"pkey", "explain"}, strings.Fields(args)...)...)
		if code != 1 || !strings.Contains(out+errOut, want) {
			t.Errorf("%q: code %d, %s%s", args, code, out, errOut)
		}
	}
}

// TestHelp: the help names every command, and those of ip(8) with them.
func TestHelp(t *testing.T) {
	for _, args := range [][]string{nil, {"help"}, {"--help"}} {
		code, out, errOut := runApp(t, args...)
		if code != 0 || errOut != "" {
			t.Errorf("%q: code %d, %s", args, code, errOut)
		}
		for _, name := range []string{
			"serve", "lab", "link", "monitor", "pkey", "neigh", "path", "mcg", "stats", "fabric", "capture", "completion",
		} {
			if !strings.Contains(out, "\n   "+name) {
				t.Errorf("%q: no %s in\n%s", args, name, out)
			}
		}
	}
	if code, out, _ := runApp(t, "help", "serve"); code != 0 || !strings.Contains(out, "--teardown") {
		t.Errorf("help serve: code %d\n%s", code, out)
	}
	if code, _, errOut := runApp(t, "nosuch"); code != 1 || errOut != "Object \"nosuch\" is unknown, try \"ipoib help\".\n" {
		t.Errorf("nosuch: code %d, %s", code, errOut)
	}
}

// TestNoService: what is said when nothing listens, and what works then.
func TestNoService(t *testing.T) {
	t.Setenv("IPOIB_RUN_DIR", t.TempDir())
	ip := func(args ...string) (int, string, string) {
		var o, e strings.Builder
		code, ok := runIP(args, strings.NewReader(""), &o, &e)
		if !ok {
			t.Errorf("%q is not taken", args)
		}
		return code, o.String(), e.String()
	}
	const hint = "The service is not running: start it with \"ipoib serve\".\n"
	if code, _, e := ip("link", "show"); code != 1 || !strings.HasSuffix(e, hint) {
		t.Errorf("link show: code %d, %s", code, e)
	}
	if code, o, e := ip("link", "help", "ipoib"); code != 0 || e != "" || !strings.HasPrefix(o, "Usage: ... ipoib") {
		t.Errorf("link help ipoib: code %d, %s%s", code, o, e)
	}
	for _, object := range []string{"link", "monitor"} {
		if code, _, e := ip(object, "help"); code != 255 || !strings.HasPrefix(e, "Usage: ipoib "+object) {
			t.Errorf("%s help: code %d, %s", object, code, e)
		}
	}
	if code, _, e := ip("-x", "link"); code != 255 || e != "Option \"-x\" is unknown, try \"ip -help\".\n" {
		t.Errorf("-x link: code %d, %s", code, e)
	}
	if code, _, e := runApp(t, "neigh"); code != 1 || !strings.Contains(e, "the service is not running") {
		t.Errorf("neigh: code %d, %s", code, e)
	}
	if code, _, e := runApp(t, "link", "show"); code != 1 || !strings.HasSuffix(e, hint) {
		t.Errorf("link by the flags: code %d, %s", code, e)
	}
}
