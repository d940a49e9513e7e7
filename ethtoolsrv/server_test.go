package ethtoolsrv_test

import (
	"bufio"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"ipoib/datapath"
	"ipoib/ethtoolsrv/ethtooltest"
	"ipoib/nl"
	"ipoib/nl/ethnl"
	"ipoib/rdma/soft"
)

func newHost(tb testing.TB, names ...string) *ethtooltest.Host {
	return ethtooltest.New(tb, ethtooltest.Options{Names: names, Profile: soft.ProfileGeneric})
}

// kernelCommands are the user messages of Linux 6.1.
const kernelCommands = `STRSET_GET LINKINFO_GET LINKINFO_SET LINKMODES_GET LINKMODES_SET LINKSTATE_GET DEBUG_GET
DEBUG_SET WOL_GET WOL_SET FEATURES_GET FEATURES_SET PRIVFLAGS_GET PRIVFLAGS_SET RINGS_GET RINGS_SET CHANNELS_GET
CHANNELS_SET COALESCE_GET COALESCE_SET PAUSE_GET PAUSE_SET EEE_GET EEE_SET TSINFO_GET CABLE_TEST_ACT
CABLE_TEST_TDR_ACT TUNNEL_INFO_GET FEC_GET FEC_SET MODULE_EEPROM_GET STATS_GET PHC_VCLOCKS_GET MODULE_GET
MODULE_SET PSE_GET PSE_SET`

// TestEveryCommandHasARow lists kernel commands that the family lacks, by the
// kept list and by the header of this machine, which may be newer.
func TestEveryCommandHasARow(t *testing.T) {
	h := newHost(t, "ib0")
	c := dial(t, h, true)
	const ctrl, getFamily = 16, 3
	have := map[uint32]uint32{}
	family := c.family
	c.family = ctrl
	c.send(getFamily, request, func(e *nl.Encoder) { e.String(2, ethnl.Name) })
	for op := range attr(t, c.read()[0].attrs, 6).Children() {
		have[attr(t, op, 1).Uint32()] = attr(t, op, 2).Uint32()
	}
	c.family = family
	const doPolicy, doDumpPolicy, adminDo, adminDoDump = 0x0a, 0x0e, 0x1a, 0x1e
	for n, name := range strings.Fields(kernelCommands) {
		want := uint32(adminDo)
		switch {
		case name == "WOL_GET", name == "MODULE_EEPROM_GET":
			want = adminDoDump
		case strings.HasSuffix(name, "_GET"):
			want = doDumpPolicy
		}
		if got := have[uint32(n+1)]; got != want {
			t.Errorf("ETHTOOL_MSG_%s: flags %#x, want %#x", name, got, want)
		}
		delete(have, uint32(n+1))
	}
	if len(have) > 0 {
		t.Errorf("commands that Linux 6.1 does not have: %v", have)
	}
	f, err := os.Open("/usr/include/linux/ethtool_netlink.h")
	if err != nil {
		t.Log("no header of the kernel here:", err)
		return
	}
	defer f.Close()
	known := " " + strings.Join(strings.Fields(kernelCommands), " ") + " "
	re := regexp.MustCompile(`^\s*ETHTOOL_MSG_(\w+_(?:GET|SET|ACT)),`)
	newer := 0
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if m := re.FindStringSubmatch(sc.Text()); m != nil && !strings.Contains(known, " "+m[1]+" ") {
			t.Logf("the header has ETHTOOL_MSG_%s, which is newer than Linux 6.1", m[1])
			newer++
		}
	}
	t.Log(newer, "newer commands in the header")
}

// TestPrivilege: every SET and ACT command, and two GET commands, need
// CAP_NET_ADMIN, before anything else is looked at.
func TestPrivilege(t *testing.T) {
	c := dial(t, newHost(t, "ib0"), false)
	for n, name := range strings.Fields(kernelCommands) {
		admin := !strings.HasSuffix(name, "_GET") || name == "WOL_GET" || name == "MODULE_EEPROM_GET"
		_, end := c.do(uint8(n+1), named("nosuch"))
		if got := end.errno == syscall.EPERM; got != admin || admin && end.text != "" {
			t.Errorf("%s: %v %q, want EPERM %v", name, end.errno, end.text, admin)
		}
	}
}

func TestLinkSettings(t *testing.T) {
	h := newHost(t, "ib0")
	c := dial(t, h, false)
	check := func(when string, speed uint32, duplex, autoneg, port, phy uint8) {
		t.Helper()
		m := c.get(ethnl.CmdLinkModesGet, "ib0", 0)
		if got := types(m); got != "1 2 3 5 6 10 " {
			t.Errorf("%s: LINKMODES has %s", when, got)
		}
		if s, d, a := attr(t, m, 5).Uint32(), attr(t, m, 6).Uint8(), attr(t, m, 2).Uint8(); s != speed || d != duplex || a != autoneg {
			t.Errorf("%s: speed %d duplex %d autoneg %d", when, s, d, a)
		}
		i := c.get(ethnl.CmdLinkInfoGet, "ib0", 0)
		if got := types(i); got != "1 2 3 4 5 6 " {
			t.Errorf("%s: LINKINFO has %s", when, got)
		}
		if p, a := attr(t, i, 2).Uint8(), attr(t, i, 3).Uint8(); p != port || a != phy {
			t.Errorf("%s: port %d phy %d", when, p, a)
		}
		if l := c.get(ethnl.CmdLinkStateGet, "ib0", 0); types(l) != "1 2 " || attr(t, l, 2).Uint8() != 0 {
			t.Errorf("%s: LINKSTATE %x", when, l.Data)
		}
	}
	check("never up", 100000, 1, 1, 255, 255)
	if err := h.Interface(t, "ib0").SetUp(true); err != nil {
		t.Fatal(err)
	}
	check("up without carrier", 1<<32-1, 255, 0, 0, 0)

	// The link modes: none of 93, in both encodings.
	ours := ethnl.ViewBitset(attr(t, c.get(ethnl.CmdLinkModesGet, "ib0", 0), ethnl.LinkModesOurs))
	if ours.Compact || ours.List || ours.Size != 93 || ours.Bits == nil || len(ours.Bits) != 0 {
		t.Errorf("verbose link modes %+v", ours)
	}
	ours = ethnl.ViewBitset(attr(t, c.get(ethnl.CmdLinkModesGet, "ib0", ethnl.FlagCompactBitsets), ethnl.LinkModesOurs))
	if !ours.Compact || ours.List || ours.Size != 93 || !ours.Fits() {
		t.Errorf("compact link modes %+v", ours)
	}
}

func TestFeatures(t *testing.T) {
	h := newHost(t, "ib0")
	c := dial(t, h, true)
	info := h.Interface(t, "ib0").Info().Features
	for _, flags := range []uint32{0, ethnl.FlagCompactBitsets} {
		m := c.get(ethnl.CmdFeaturesGet, "ib0", flags)
		if got := types(m); got != "1 2 3 4 5 " {
			t.Fatalf("FEATURES has %s", got)
		}
		for ty, want := range map[uint16]datapath.FeatureSet{
			ethnl.FeaturesHW: info.HW, ethnl.FeaturesWanted: info.Wanted, ethnl.FeaturesActive: info.Active,
			ethnl.FeaturesNoChange: datapath.NeverChange,
		} {
			v := ethnl.ViewBitset(attr(t, m, ty))
			var got datapath.FeatureSet
			bits := 0
			err := v.Walk(datapath.FeatureNames(), func(i int, name string, named, on bool) {
				bits++
				if !named || name != datapath.FeatureNames()[i] {
					t.Errorf("bit %d is %q", i, name)
				}
				if on {
					got |= 1 << i
				}
			})
			if err != nil || got != want || v.Size != 64 || v.List != (ty != ethnl.FeaturesHW) {
				t.Errorf("flags %d, attribute %d: %x, %v, want %x", flags, ty, uint64(got), err, uint64(want))
			}
			if ty == ethnl.FeaturesHW && bits != 64 {
				t.Errorf("HW speaks of %d bits", bits)
			}
		}
	}
}

// setFeature asks by name, in verbose form.
func setFeature(flags uint32, on bool, names ...string) func(*nl.Encoder) {
	return func(e *nl.Encoder) {
		ethnl.AppendRequestHeader(e, ethnl.FeaturesHeader, "ib0", flags)
		e.Nest(ethnl.FeaturesWanted, func() {
			e.Nest(ethnl.BitsetBits, func() {
				for _, n := range names {
					e.Nest(ethnl.BitsetBitsBit, func() {
						e.String(ethnl.BitsetBitName, n)
						if on {
							e.Flag(ethnl.BitsetBitValue)
						}
					})
				}
			})
		})
	}
}

func TestSetFeatures(t *testing.T) {
	h := newHost(t, "ib0")
	c := dial(t, h, true)
	bits := func(m nl.Attr, ty uint16) (value, mask uint64) {
		v := ethnl.ViewBitset(attr(t, m, ty))
		return v.Value.Uint64(), v.Mask.Uint64()
	}
	replies, end := c.do(ethnl.CmdFeaturesSet, setFeature(ethnl.FlagCompactBitsets, true, "rx-lro", "tx-checksum-ipv6"))
	if end.errno != 0 || len(replies) != 1 || replies[0].cmd != ethnl.MsgFeaturesSetReply || types(replies[0].attrs) != "1 3 4 " {
		t.Fatalf("lro on: %v %+v", end, replies)
	}
	if v, m := bits(replies[0].attrs, ethnl.FeaturesWanted); v != 1<<4 || m != 1<<4 {
		t.Errorf("refused %x/%x", v, m)
	}
	if v, m := bits(replies[0].attrs, ethnl.FeaturesActive); v != 1<<15 || m != 1<<15 {
		t.Errorf("changed %x/%x", v, m)
	}
	if replies, end = c.do(ethnl.CmdFeaturesSet, setFeature(ethnl.FlagOmitReply, false, "rx-lro")); end.errno != 0 || len(replies) != 0 {
		t.Errorf("without reply: %v %+v", end, replies)
	}
	if h.Interface(t, "ib0").Info().Features.Active.Has(datapath.FeatureLRO) {
		t.Error("rx-lro is still on")
	}
	if _, end = c.do(ethnl.CmdFeaturesSet, setFeature(0, true, "vlan-challenged")); end.errno != syscall.EINVAL ||
		end.text != "attempt to change non-ethtool features" {
		t.Errorf("vlan-challenged: %v %q", end.errno, end.text)
	}
}

func setCoalesce(attrs ...uint32) func(*nl.Encoder) {
	return func(e *nl.Encoder) {
		ethnl.AppendRequestHeader(e, ethnl.CoalesceHeader, "ib0", 0)
		for i := 0; i < len(attrs); i += 2 {
			if attrs[i] >= ethnl.CoalesceUseCQEModeTx || attrs[i] == 11 || attrs[i] == 12 {
				e.U8(uint16(attrs[i]), uint8(attrs[i+1]))
			} else {
				e.U32(uint16(attrs[i]), attrs[i+1])
			}
		}
	}
}

func TestCoalesce(t *testing.T) {
	h := newHost(t, "ib0")
	c := dial(t, h, true)
	const unsupported = "cannot modify an unsupported parameter"
	steps := []struct {
		attrs         []uint32
		errno         syscall.Errno
		text          string
		usecs, frames uint32
	}{
		{nil, 0, "", 0, 0},
		{[]uint32{2, 16}, 0, "", 16, 0},
		{[]uint32{3, 44, 2, 17}, 0, "", 17, 44},
		{[]uint32{2, 65536}, syscall.EINVAL, "", 17, 44},
		{[]uint32{2, 1, 3, 65536}, syscall.EINVAL, "", 17, 44},
		{[]uint32{2, 5, 6, 8}, syscall.EINVAL, unsupported, 17, 44},
		{[]uint32{11, 0}, syscall.EINVAL, unsupported, 17, 44},
		{[]uint32{25, 1}, syscall.EINVAL, unsupported, 17, 44},
		{[]uint32{25, 2}, syscall.ERANGE, "integer out of range", 17, 44},
		{[]uint32{2, 65535, 3, 65535}, 0, "", 65535, 65535},
	}
	for _, s := range steps {
		_, end := c.do(ethnl.CmdCoalesceSet, setCoalesce(s.attrs...))
		if end.errno != s.errno || end.text != s.text {
			t.Errorf("%v: %v %q, want %v %q", s.attrs, end.errno, end.text, s.errno, s.text)
		}
		m := c.get(ethnl.CmdCoalesceGet, "ib0", 0)
		if types(m) != "1 2 3 " || attr(t, m, 2).Uint32() != s.usecs || attr(t, m, 3).Uint32() != s.frames {
			t.Errorf("%v: %x", s.attrs, m.Data)
		}
	}
	// The lowest number is blamed, not the first in the request.
	_, end := c.do(ethnl.CmdCoalesceSet, setCoalesce(18, 1, 4, 1))
	req := nl.Align(int(nl.ParseHeader(end.raw[20:]).Length))
	for a := range (nl.Attr{Data: end.raw[20+req:]}).Children() {
		if a.Type == nl.ExtAckOffs && a.Uint32() != 40 {
			t.Errorf("blamed offset %d, want 40", a.Uint32())
		}
	}
}

// TestNotifications: changes reach the group once, before the requester's
// ACK, and nothing else does.
func TestNotifications(t *testing.T) {
	h := newHost(t, "ib0")
	c, watch := dial(t, h, true), dial(t, h, false)
	for _, x := range []*conn{c, watch} {
		if err := x.c.JoinGroup(x.group); err != nil {
			t.Fatal(err)
		}
	}
	var seq uint32
	told := func(cmd uint8, want uint8) {
		t.Helper()
		m := watch.read()[0]
		if m.cmd != want || m.pid != 0 || m.flags != 0 || seq != 0 && m.seq != seq+1 {
			t.Errorf("command %d: notification %d pid %d flags %#x seq %d after %d", cmd, m.cmd, m.pid, m.flags, m.seq, seq)
		}
		seq = m.seq
		h := attr(t, m.attrs, 1)
		if attr(t, h, ethnl.HeaderDevName).String() != "ib0" || attr(t, h, ethnl.HeaderDevIndex).Uint32() == 0 {
			t.Errorf("header %x", h.Data)
		}
		if want == ethnl.MsgFeaturesNTF && !ethnl.ViewBitset(attr(t, m.attrs, ethnl.FeaturesHW)).Compact {
			t.Error("bitsets of a notification are compact")
		}
	}
	order := func(replies []message) (s string) {
		for _, m := range replies {
			s += map[uint8]string{ethnl.MsgFeaturesSetReply: "reply ", ethnl.MsgFeaturesNTF: "told ", ethnl.MsgCoalesceNTF: "told "}[m.cmd]
		}
		return s
	}
	replies, _ := c.do(ethnl.CmdFeaturesSet, setFeature(0, false, "rx-gro"))
	if got := order(replies); got != "reply told " {
		t.Errorf("features: %s", got)
	}
	told(ethnl.CmdFeaturesSet, ethnl.MsgFeaturesNTF)
	replies, _ = c.do(ethnl.CmdFeaturesSet, setFeature(ethnl.FlagOmitReply, true, "rx-gro"))
	if got := order(replies); got != "told " {
		t.Errorf("features without reply: %s", got)
	}
	told(ethnl.CmdFeaturesSet, ethnl.MsgFeaturesNTF)
	replies, _ = c.do(ethnl.CmdCoalesceSet, setCoalesce(2, 9))
	if got := order(replies); got != "told " {
		t.Errorf("coalesce: %s", got)
	}
	told(ethnl.CmdCoalesceSet, ethnl.MsgCoalesceNTF)
	for name, fill := range map[string]func(*nl.Encoder){
		"same value": setCoalesce(2, 9), "nothing": setCoalesce(), "refused": setCoalesce(2, 65536), "unsupported": setCoalesce(6, 1),
	} {
		if replies, _ = c.do(ethnl.CmdCoalesceSet, fill); len(replies) != 0 {
			t.Errorf("%s: %s", name, order(replies))
		}
	}
	for name, fill := range map[string]func(*nl.Encoder){
		"no change": setFeature(ethnl.FlagOmitReply, true, "rx-gro"), "fixed": setFeature(ethnl.FlagOmitReply, true, "rx-all"),
	} {
		if replies, _ = c.do(ethnl.CmdFeaturesSet, fill); len(replies) != 0 {
			t.Errorf("%s: %s", name, order(replies))
		}
	}
	// A change that nobody requested by netlink is told as well; one of the
	// administrative state is not this family's.
	usecs := uint32(1)
	if err := h.Interface(t, "ib0").SetCoalesce(&usecs, nil); err != nil {
		t.Fatal(err)
	}
	told(0, ethnl.MsgCoalesceNTF)
	if err := h.Interface(t, "ib0").SetUp(true); err != nil {
		t.Fatal(err)
	}
	watch.quiet()
}

// TestDump: all interfaces of the namespace in order of their index, without
// those that have no answer.
func TestDump(t *testing.T) {
	h := newHost(t, "ib0", "ib1")
	parent := h.Interface(t, "ib0")
	key := parent.Info().PKey
	for _, name := range []string{"c1", "c2"} {
		if _, err := h.Driver.NewChild(parent, datapath.ChildConfig{Name: name, PKey: &key}); err != nil {
			t.Fatal(err)
		}
	}
	far := h.Net.AddNamespace(t, "far")
	if _, err := h.Driver.NewChild(parent, datapath.ChildConfig{Name: "far", PKey: &key, NS: far}); err != nil {
		t.Fatal(err)
	}
	c := dial(t, h, true)
	for n, name := range strings.Fields(kernelCommands) {
		cmd := uint8(n + 1)
		hdr := uint16(1)
		if cmd == ethnl.CmdStatsGet {
			hdr = ethnl.StatsHeader
		}
		fill := func(e *nl.Encoder) {
			if cmd == ethnl.CmdStatsGet {
				e.Nest(ethnl.StatsGroups, func() {
					e.Flag(ethnl.BitsetNoMask)
					e.U32(ethnl.BitsetSize, 1)
					e.U32(ethnl.BitsetValue, 1)
				})
			}
			if cmd == ethnl.CmdModuleEEPROMGet {
				e.U32(ethnl.ModuleEEPROMOffset, 0)
				e.U32(ethnl.ModuleEEPROMLength, 1)
				e.U8(ethnl.ModuleEEPROMPage, 0)
				e.U8(ethnl.ModuleEEPROMI2CAddress, 0x50)
			}
		}
		c.send(cmd, request|dump, fill)
		var got []string
		var errno syscall.Errno
		for done := false; !done; {
			for _, m := range c.read() {
				if m.typ == 2 || m.typ == 3 {
					errno, done = m.errno, true
					break
				}
				got = append(got, attr(t, attr(t, m.attrs, hdr), ethnl.HeaderDevName).String())
			}
		}
		want, wantErr := "", syscall.Errno(0)
		switch {
		case !strings.HasSuffix(name, "_GET"):
			wantErr = syscall.EOPNOTSUPP
		case strings.Contains(" STRSET LINKINFO LINKMODES LINKSTATE FEATURES COALESCE TSINFO STATS PHC_VCLOCKS MODULE ",
			" "+strings.TrimSuffix(name, "_GET")+" "):
			want = "ib0 ib1 c1 c2"
		}
		if s := strings.Join(got, " "); s != want || errno != wantErr {
			t.Errorf("%s: %q %v, want %q %v", name, s, errno, want, wantErr)
		}
	}
	if _, end := c.do(ethnl.CmdCoalesceGet, named("far")); end.errno != syscall.ENODEV {
		t.Errorf("an interface of another namespace: %v", end.errno)
	}
}

func TestStringSets(t *testing.T) {
	h := newHost(t, "ib0")
	c := dial(t, h, false)
	sets := func(m nl.Attr) (out []ethnl.StringSet) {
		for a := range attr(t, m, ethnl.StrsetStringSets).Children() {
			s, ok := ethnl.ViewStringSet(a)
			if !ok && s.Strings != nil {
				t.Errorf("malformed set %x", a.Data)
			}
			out = append(out, s)
		}
		return out
	}
	ids := func(list []ethnl.StringSet) (s []int) {
		for _, x := range list {
			s = append(s, x.ID)
		}
		return s
	}
	global := sets(c.get(ethnl.CmdStrsetGet, "", 0))
	if got, want := ids(global), []int{4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}; !equal(got, want) {
		t.Errorf("sets without interface: %v, want %v", got, want)
	}
	counts := map[int]int{4: 64, 5: 3, 6: 5, 8: 4, 9: 93, 10: 15, 11: 8, 12: 16, 13: 4, 14: 16, 15: 3, 16: 4, 17: 1, 18: 22, 19: 3, 20: 4}
	for _, s := range global {
		if s.Count != counts[s.ID] || len(s.Strings) != s.Count {
			t.Errorf("set %d has %d strings, want %d", s.ID, s.Count, counts[s.ID])
		}
	}
	own := sets(c.get(ethnl.CmdStrsetGet, "ib0", 0))
	if len(own) != 1 || own[0].ID != ethnl.SetStats ||
		strings.Join(own[0].Strings, " ") != "rx_packets tx_packets rx_bytes tx_bytes tx_errors rx_dropped tx_dropped multicast" {
		t.Errorf("sets of the interface: %+v", own)
	}
	ask := func(name string, counts bool, ids ...uint32) ([]message, message) {
		return c.do(ethnl.CmdStrsetGet, func(e *nl.Encoder) {
			ethnl.AppendRequestHeader(e, ethnl.StrsetHeader, name, 0)
			e.Nest(ethnl.StrsetStringSets, func() {
				for _, id := range ids {
					e.Nest(ethnl.StringSetsStringSet, func() { e.U32(ethnl.StringSetID, id) })
				}
			})
			if counts {
				e.Flag(ethnl.StrsetCountsOnly)
			}
		})
	}
	for _, x := range []struct {
		name  string
		ids   []uint32
		want  []int
		errno syscall.Errno
		text  string
	}{
		{"", []uint32{4}, []int{4}, 0, ""},
		{"", []uint32{20, 4}, []int{4, 20}, 0, ""},
		{"ib0", []uint32{4, 1}, []int{1, 4}, 0, ""},
		{"ib0", []uint32{0, 2, 7}, nil, 0, ""},
		{"ib0", []uint32{3}, nil, syscall.EOPNOTSUPP, ""},
		{"", []uint32{21}, nil, syscall.EOPNOTSUPP, "unknown string set id"},
		{"", []uint32{1}, nil, syscall.EINVAL, "requested per device strings without dev"},
	} {
		replies, end := ask(x.name, true, x.ids...)
		if end.errno != x.errno || end.text != x.text {
			t.Errorf("%q %v: %v %q", x.name, x.ids, end.errno, end.text)
			continue
		}
		if end.errno == 0 && !equal(ids(sets(replies[0].attrs)), x.want) {
			t.Errorf("%q %v: sets %v", x.name, x.ids, ids(sets(replies[0].attrs)))
		}
		if end.errno == 0 && strings.Contains(types(replies[0].attrs), "1 ") != (x.name != "") {
			t.Errorf("%q %v: header in the reply: %s", x.name, x.ids, types(replies[0].attrs))
		}
	}
}

func equal(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestEmptyReplies(t *testing.T) {
	c := dial(t, newHost(t, "ib0"), true)
	for _, cmd := range []uint8{ethnl.CmdModuleGet, ethnl.CmdPHCVClocksGet} {
		if got := types(c.get(cmd, "ib0", 0)); got != "1 " {
			t.Errorf("command %d: %s", cmd, got)
		}
	}
	ts := ethnl.ViewBitset(attr(t, c.get(ethnl.CmdTSInfoGet, "ib0", 0), ethnl.TSInfoTimestamping))
	if len(ts.Bits) != 2 || ts.Bits[0].Name != "software-receive" || ts.Bits[1].Name != "software-system-clock" ||
		!ts.List || ts.Size != 16 {
		t.Errorf("timestamping %+v", ts)
	}
	replies, end := c.do(ethnl.CmdStatsGet, func(e *nl.Encoder) {
		ethnl.AppendRequestHeader(e, ethnl.StatsHeader, "ib0", 0)
		e.Nest(ethnl.StatsGroups, func() {
			e.Flag(ethnl.BitsetNoMask)
			e.Nest(ethnl.BitsetBits, func() {
				for _, n := range []string{"rmon", "eth-phy"} {
					e.Nest(ethnl.BitsetBitsBit, func() { e.String(ethnl.BitsetBitName, n) })
				}
			})
		})
	})
	if end.errno != 0 || types(replies[0].attrs) != "2 4 4 " {
		t.Fatalf("statistics: %v %+v", end, replies)
	}
	var got []uint32
	for a := range replies[0].attrs.Children() {
		if a.Type == ethnl.StatsGrp {
			got = append(got, attr(t, a, ethnl.StatsGrpID).Uint32(), attr(t, a, ethnl.StatsGrpSSID).Uint32())
		}
	}
	if len(got) != 4 || got[0] != 0 || got[1] != 17 || got[2] != 3 || got[3] != 20 {
		t.Errorf("groups %v", got)
	}
}
