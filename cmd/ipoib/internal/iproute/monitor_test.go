package iproute

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"

	"ipoib/nl"
	"ipoib/nl/rtlink"
)

// event is a notification about a link.
func event(t netlink.HeaderType, l *rtlink.Link) []byte {
	var e nl.Encoder
	_ = e.Message(netlink.Header{Type: t}, func(e *nl.Encoder) error { l.Append(e); return nil })
	return e.Bytes()
}

// history are the events of a child's life, with its parent's.
func history() (out [][]byte) {
	parent, child := ib("ib0", 2, 0), ib("ib0.8001", 8, 2)
	down := *child
	down.Flags, down.Operstate = rtlink.FlagBroadcast|rtlink.FlagMulticast, new(uint8(rtlink.OperDown))
	out = append(out, event(rtlink.NewLink, &down), event(rtlink.NewLink, child))
	parent.Event, parent.MTU = new(uint32(2)), new(uint32(65520))
	out = append(out, event(rtlink.NewLink, parent))
	renamed := *child
	renamed.Name, renamed.Alias = "blue", "storage"
	return append(out, event(rtlink.NewLink, &renamed), event(rtlink.DelLink, &renamed))
}

// The lines of history, but for the address lines.
const (
	childDown   = "8: ib0.8001@ib0: <BROADCAST,MULTICAST> mtu 2044 qdisc fq_codel state DOWN group default \n"
	childUp     = "8: ib0.8001@ib0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 2044 qdisc fq_codel state UP group default \n"
	parentEvent = "2: ib0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 65520 qdisc fq_codel state UP group default event FEATURE CHANGE \n"
	childBlue   = "8: blue@ib0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 2044 qdisc fq_codel state UP group default \n"
)

// addressLine is the second line of each link.
var addressLine = "    link/infiniband " + strings.Repeat(":80", 20)[1:] + " brd " + strings.Repeat(":ff", 20)[1:] + "\n"

// TestMonitor prints events in each form. The connection ends after them.
func TestMonitor(t *testing.T) {
	all := []string{childDown, childUp, parentEvent, childBlue, "Deleted " + childBlue}
	form := func(lines []string, before string) (out string) {
		for _, l := range lines {
			out += before + l + addressLine
		}
		return out
	}
	const stamp = "Timestamp: Sun Nov 22 21:04:46 2026 65142 usec\n"
	for _, tc := range []struct{ line, want string }{
		{"monitor", form(all, "")},
		{"monitor link", form(all, "")},
		{"mon li", form(all, "")},
		{"monitor all", form(all, "[LINK]")},
		{"monitor label link", form(all, "[LINK]")},
		{"monitor all-nsid", form(all, "[nsid current]")},
		{"-t monitor link", form(all, stamp)},
		{"-ts monitor", form(all, "[2026-11-22T21:04:46.065142] ")},
		{"-t monitor all all-nsid", form(all, stamp+"[nsid current][LINK]")},
		{"-o monitor", strings.ReplaceAll(form(all, ""), "\n    ", `\    `)},
		{"monitor dev ib0", form(all[2:3], "")},
		{"-j monitor dev ib0.8009", ""},
	} {
		f := service()
		f.events = history()
		got := runFake(f, strings.Fields(tc.line)...)
		if d := cmp.Diff(outcome{tc.want, "EOF on netlink\n", 2}, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", tc.line, d)
		}
	}
}

// TestMonitorLost: events were lost, and those after them are printed.
func TestMonitorLost(t *testing.T) {
	f := service()
	h := history()
	f.events = append([][]byte{h[0], nil}, h[1])
	got := runFake(f, "monitor", "link")
	want := outcome{childDown + addressLine + childUp + addressLine,
		"netlink receive error No buffer space available (105)\nEOF on netlink\n", 2}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestMonitorFile prints what rtmon recorded: messages with times between them.
func TestMonitorFile(t *testing.T) {
	var at nl.Encoder
	_ = at.Message(netlink.Header{Type: timestampType}, func(e *nl.Encoder) error {
		e.Raw([]byte{0x7e, 0x06, 0x21, 0x6a, 7, 0, 0, 0}) // 1780549246 s, 7 us
		return nil
	})
	h := history()
	record := string(at.Bytes()) + string(h[0]) + string(h[4])
	files := map[string]string{
		"good": record, "cut": record[:len(record)-4], "half": record[:len(record)-len(h[4])+7], "bad": "\x01\x00\x00\x00" + strings.Repeat("\x00", 12),
	}
	const stamp = "Timestamp: Thu Jun  4 05:00:46 2026 7 us\n"
	one := stamp + childDown + addressLine
	for name, want := range map[string]outcome{
		"good":   {one + "Deleted " + childBlue + addressLine, "", 0},
		"cut":    {one, "rtnl-from_file: truncated message\n", 1},
		"half":   {one, "rtnl-from_file: truncated message\n", 1},
		"bad":    {"", "!!!malformed message: len=1 @0\n", 1},
		"nosuch": {"", "Cannot fopen: No such file or directory\n", 255},
	} {
		if d := cmp.Diff(want, runWith(service(), fakeHost{files}, "monitor", "file", name)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}
