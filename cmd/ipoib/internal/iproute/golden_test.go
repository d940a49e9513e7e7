package iproute

import (
	"encoding/hex"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ipoib/cmd/ipoib/internal/linkfmt"
	"ipoib/nl/rtlink"
)

// command is one command of a transcript of the real driver with its output.
type command struct{ line, output string }

// transcript reads a transcript.
func transcript(t *testing.T, file string) (out []command) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(string(text), "\n$ ")[1:] {
		line, rest, _ := strings.Cut(block, "\n")
		output, _, ok := strings.Cut(rest, "[exit 0]")
		if ok {
			out = append(out, command{line, output})
		}
	}
	return out
}

// find returns the nth output of a command, from 0.
func find(t *testing.T, list []command, line string, n int) string {
	t.Helper()
	for _, c := range list {
		if c.line == line {
			if n == 0 {
				return c.output
			}
			n--
		}
	}
	t.Fatalf("no %q in the transcript", line)
	return ""
}

var (
	headRE = regexp.MustCompile(`^(\d+): (\S+?)(?:@(\S+))?: <(\S*)> mtu (\d+) qdisc (\S+) state (\S+) mode (\S+) group (\S+)(?: qlen (\d+))?$`)
	lineRE = regexp.MustCompile(`^    link/(\S+) (\S+) brd (\S+)(.*)$`)
	wordRE = regexp.MustCompile(`(\w+) (\S+)`)
)

// parse builds the links that a text output of `ip -d link` shows. It knows
// the words, not the formats.
func parse(t *testing.T, text string) (out []*rtlink.Link) {
	t.Helper()
	index := map[string]uint32{}
	for l := range strings.SplitSeq(text, "\n") {
		if m := headRE.FindStringSubmatch(l); m != nil {
			index[m[2]] = uint32(number(t, m[1]))
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		if m := headRE.FindStringSubmatch(line); m != nil {
			l := &rtlink.Link{
				Index: int32(number(t, m[1])), Name: m[2], Flags: flagsOf(m[4]), MTU: new(uint32(number(t, m[5]))), Qdisc: m[6],
				Operstate: new(uint8(linkfmt.Operstate(m[7]))), Linkmode: new(uint8(0)), Group: new(uint32(0)),
			}
			if m[3] != "" {
				// A parent that is not shown is the one with index 2.
				l.Link = new(max(index[m[3]], 2))
			}
			if m[10] != "" {
				l.TxQueueLen = new(uint32(number(t, m[10])))
			}
			out = append(out, l)
			continue
		}
		if len(out) == 0 {
			continue
		}
		l := out[len(out)-1]
		if m := lineRE.FindStringSubmatch(line); m != nil {
			l.Type = map[string]uint16{"infiniband": rtlink.TypeInfiniBand, "loopback": rtlink.TypeLoopback}[m[1]]
			l.Address, l.Broadcast = octetsOf(t, m[2]), octetsOf(t, m[3])
			details(t, l, m[4])
		} else if alias, ok := strings.CutPrefix(line, "    alias "); ok {
			l.Alias = alias
		} else if rest, ok := strings.CutPrefix(line, "    ipoib "); ok {
			l.Info = &rtlink.Info{Kind: rtlink.KindIPoIB}
			details(t, l, rest)
		}
	}
	return out
}

func number(t *testing.T, s string) uint64 {
	t.Helper()
	v, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func octetsOf(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func flagsOf(s string) (f uint32) {
	bits := map[string]uint32{
		"LOOPBACK": rtlink.FlagLoopback, "BROADCAST": rtlink.FlagBroadcast, "MULTICAST": rtlink.FlagMulticast,
		"UP": rtlink.FlagUp, "LOWER_UP": rtlink.FlagLowerUp | rtlink.FlagRunning, "NOARP": rtlink.FlagNoARP,
	}
	for w := range strings.SplitSeq(s, ",") {
		f |= bits[w]
	}
	return f
}

// details sets what the words of -d say.
func details(t *testing.T, l *rtlink.Link, text string) {
	t.Helper()
	at := map[string]**uint32{
		"promiscuity": &l.Promiscuity, "allmulti": &l.Allmulti, "minmtu": &l.MinMTU, "maxmtu": &l.MaxMTU,
		"numtxqueues": &l.NumTxQueues, "numrxqueues": &l.NumRxQueues, "gso_max_size": &l.GSOMaxSize,
		"gso_max_segs": &l.GSOMaxSegs, "tso_max_size": &l.TSOMaxSize, "tso_max_segs": &l.TSOMaxSegs,
		"gro_max_size": &l.GROMaxSize,
	}
	var d rtlink.IPoIB
	for _, m := range wordRE.FindAllStringSubmatch(text, -1) {
		switch key, v := m[1], m[2]; key {
		case "pkey":
			d.PKey = new(uint16(number(t, v)))
		case "mode":
			d.Mode = new(uint16(0))
			if v == "connected" {
				*d.Mode = 1
			}
		case "umcast":
			d.Umcast = new(uint16(number(t, "0x"+v)))
		case "addrgenmode":
			l.AddrGenMode = new(uint8(0))
			l.AFSpec = []byte{16, 0, 10, 0, 5, 0, 8, 0, 0, 0, 0, 0, 4, 0, 9, 0}
		case "parentbus":
			l.ParentBus = v
			l.NumVF = new(uint32(0))
			l.Other = append(l.Other, rtlink.Raw{Type: rtlink.AttrVFInfoList, Data: []byte{}})
		case "parentdev":
			l.ParentDev = v
		default:
			if p := at[key]; p != nil {
				*p = new(uint32(number(t, v)))
			}
		}
	}
	if d.PKey != nil {
		l.Info.Data = d.Bytes()
	}
}

// show prints links as a command line does.
func show(links []*rtlink.Link, line string) string {
	return runFake(&fakeService{links: links}, strings.Fields(line)...).Stdout
}

// TestGoldenText parses every text output of the real driver and prints it
// again.
func TestGoldenText(t *testing.T) {
	n := 0
	for _, file := range []string{"golden-link-show.txt", "golden-states.txt"} {
		for _, c := range transcript(t, file) {
			args, ok := strings.CutPrefix(c.line, "ip ")
			if !ok || strings.Contains(c.line, ";") || !strings.Contains(c.line, "link") ||
				strings.Contains(c.line, "-j") || strings.Contains(c.line, "-br") || strings.Contains(c.line, "-s") {
				continue
			}
			links := parse(t, c.output)
			if len(links) == 0 {
				continue
			}
			n++
			parent := parentOf(links)
			got := show(append(links, parent...), strings.Replace(args, "show type ipoib", "show", 1))
			if len(parent) > 0 && !strings.Contains(args, "show") {
				t.Fatalf("%s shows a child without its parent", c.line)
			}
			if d := cmp.Diff(c.output, got); d != "" {
				t.Errorf("%s (-ip +ours):\n%s", c.line, d)
			}
		}
	}
	if n < 12 {
		t.Errorf("%d outputs in the transcripts", n)
	}
}

// parentOf makes the parent of a child that is shown alone: up or down as the
// child's flags say.
func parentOf(links []*rtlink.Link) []*rtlink.Link {
	if len(links) != 1 || links[0].Link == nil {
		return nil
	}
	p := ib("ib0", 2, 0)
	if links[0].Flags&rtlink.FlagUp == 0 {
		p.Flags &^= rtlink.FlagUp
	}
	return []*rtlink.Link{p}
}

// TestGoldenForms prints the links of one moment in the other forms that the
// transcript has of it.
func TestGoldenForms(t *testing.T) {
	list := transcript(t, "golden-link-show.txt")
	links := parse(t, find(t, list, "ip -d link", 0))
	check := func(line, want string) {
		t.Helper()
		if d := cmp.Diff(want, show(links, strings.TrimPrefix(line, "ip "))); d != "" {
			t.Errorf("%s (-ip +ours):\n%s", line, d)
		}
	}
	for _, line := range []string{
		"ip -d -j -p link show ib0", "ip -d -j -p link show ib0.8001", "ip -d -j -p link show ibx", "ip link",
	} {
		check(line, find(t, list, line, 0))
	}
	for _, l := range links {
		l.Stats64, l.CarrierChanges = &rtlink.Stats{TxBytes: 392, TxPackets: 5}, new(uint32(2))
	}
	check("ip -d -s -s link show ibx", find(t, list, "ip -d -s -s link show ibx", 0))
	check("ip -s -s link show ib0", find(t, list, "ip -s -s link show ib0", 0))
	*links[1].Stats64 = rtlink.Stats{TxBytes: 548, TxPackets: 7}
	check("ip -s -s -j -p link show ib0", find(t, list, "ip -s -s -j -p link show ib0", 0))

	// Several commands in one: the brief and the one-line form.
	both := find(t, list, "ip -br link; ip -o link show ib0; ip -br addr", 0)
	brief := parse(t, find(t, list, "ip link", 0))[:3]
	want := show(brief, "-br link") + show(brief, "-o link show ib0")
	if !strings.HasPrefix(both, want) {
		t.Errorf("-br and -o:\n%s\nwant the beginning of:\n%s", want, both)
	}
}

// TestGoldenBrief prints the brief form of links with long names.
func TestGoldenBrief(t *testing.T) {
	for _, c := range transcript(t, "golden-states.txt") {
		if c.line != "ip -br link" {
			continue
		}
		var links []*rtlink.Link
		index := map[string]uint32{}
		for i, line := range strings.Split(strings.TrimSuffix(c.output, "\n"), "\n") {
			w := strings.Fields(line)
			name, parent, child := strings.Cut(w[0], "@")
			l := &rtlink.Link{
				Index: int32(i + 1), Name: name, Operstate: new(uint8(linkfmt.Operstate(w[1]))),
				Address: octetsOf(t, w[2]), Flags: flagsOf(strings.Trim(w[3], "<>")), Type: rtlink.TypeInfiniBand,
			}
			index[name] = uint32(l.Index)
			if child {
				l.Link = new(index[parent])
			}
			links = append(links, l)
		}
		if d := cmp.Diff(c.output, show(links, "-br link")); d != "" {
			t.Errorf("-ip +ours:\n%s", d)
		}
	}
}
