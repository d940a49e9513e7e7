package sm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

func parsePartitions(t *testing.T, text string) *Partitions {
	t.Helper()
	p, err := ParsePartitions(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// describe writes a configuration in one line a partition, for comparison.
func describe(c *Partitions) []string {
	var out []string
	for _, p := range c.List {
		s := fmt.Sprintf("%s=%04x", p.Name, uint16(p.PKey))
		if p.SL != 0 {
			s += fmt.Sprintf(" sl=%d", p.SL)
		}
		for _, r := range p.Rules {
			who := [...]string{fmt.Sprintf("%#x", uint64(r.GUID)), "ALL", "ALL_CAS", "ALL_SWITCHES", "ALL_ROUTERS", "SELF"}[r.Selector]
			s += " " + who + "=" + r.Membership.String()
			if r.Index0 {
				s += "@0"
			}
		}
		for _, g := range p.Groups {
			s += fmt.Sprintf(" [%v mtu=%d rate=%d sl=%d q=%#x tc=%d fl=%#x]", g.MGID, g.MTU, g.Rate, g.SL, uint32(g.QKey), g.TClass, g.FlowLabel)
		}
		out = append(out, s)
	}
	return out
}

const (
	defaultRules = "Default=7fff ALL=limited SELF=full"
	defaultGroup = " [ff12:401b:ffff::ffff:ffff mtu=4 rate=3 sl=0 q=0xb1b tc=0 fl=0x0]"
)

func TestParsePartitions(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
		warnings   int
	}{
		{"empty", "", []string{"Default=7fff ALL=full" + defaultGroup}, 1},
		{"only comments", "# nothing\n\n  # here\n", []string{"Default=7fff ALL=full" + defaultGroup}, 1},
		{"the former default", "Default=0x7fff,ipoib:ALL=full;", []string{defaultRules + " ALL=full" + defaultGroup}, 0},
		{"all flags", "Default=0x7fff,ipoib,mtu=5,rate=7,sl=3,scope=2,scope=e,Q_Key=0x0b1c,TClass=1,FlowLabel=0xabc,defmember=full:ALL;",
			[]string{"Default=7fff sl=3 ALL=limited SELF=full ALL=full" +
				" [ff12:401b:ffff::ffff:ffff mtu=5 rate=7 sl=3 q=0xb1c tc=1 fl=0xabc]" +
				" [ff1e:401b:ffff::ffff:ffff mtu=5 rate=7 sl=3 q=0xb1c tc=1 fl=0xabc]"}, 0},
		{"names and numbers", "A : 1; B=0x8005 : 2; 0x80 : 3; : 4; A : 5;",
			[]string{defaultRules, "A=0001 0x1=limited 0x5=limited", "B=0005 0x2=limited", "0080=0080 0x3=limited", "0002=0002 0x4=limited"}, 0},
		{"generated number that is used later", "A : 1; B=1 : 2;", []string{defaultRules, "A=0001 0x1=limited 0x2=limited"}, 0},
		{"merged lines", "P=0x300 : SELF=full ;\nP2=0x300 : ALL=limited ;", []string{defaultRules, "P=0300 SELF=full ALL=limited"}, 0},
		{"SL survives a second line", "P=0x300, sl=4 : SELF=full ;\nP=0x300 : ALL ;", []string{defaultRules, "P=0300 sl=4 SELF=full ALL=limited"}, 0},
		{"keywords", "P=1 : ALL, ALL_CAS=full, ALL_SWITCHES=both, ALL_ROUTERS, SELF=full, NONE;",
			[]string{defaultRules, "P=0001 ALL=limited ALL_CAS=full ALL_SWITCHES=both ALL_ROUTERS=limited SELF=full"}, 0},
		{"defmember", "P=1,defmember=both : 0x10, 17=full, 021=limi, 0x12;",
			[]string{defaultRules, "P=0001 0x10=both 0x11=full 0x11=limited 0x12=both"}, 0},
		{"indx0", "P=1,indx0 : 1=full;", []string{defaultRules, "P=0001 0x1=full@0"}, 0},
		{"several lines", "P=1 :\n 0x1=full,\n  # comment\n 0x2, # two\n 0x3=full ; Q=2:4;", []string{defaultRules, "P=0001 0x1=full 0x2=limited 0x3=full", "Q=0002 0x4=limited"}, 0},
		{"empty list", "P=1 : ;", []string{defaultRules, "P=0001"}, 0},
		{"abbreviations", "P=1, ipo, mt=5, ra=3, defm=fu : S;", []string{defaultRules,
			"P=0001 SELF=full [ff12:401b:8001::ffff:ffff mtu=5 rate=3 sl=0 q=0xb1b tc=0 fl=0x0]"}, 0},
		{"unknown flag", "P=1, bogus, : ALL=maybe;", []string{defaultRules, "P=0001 ALL=limited"}, 3},
		{"white space", " P = 1 ,\tipoib , sl = 2 : 0x1 = full , ALL = limited ; ", []string{defaultRules,
			"P=0001 sl=2 0x1=full ALL=limited [ff12:401b:8001::ffff:ffff mtu=4 rate=3 sl=2 q=0xb1b tc=0 fl=0x0]"}, 0},
		{"carriage returns", "P=1 :\r\n ALL=full;\r\n", []string{defaultRules, "P=0001 ALL=full"}, 0},
		{"multicast groups", `Default=0x7fff,ipoib:
        mgid=ff12:401b::0707,sl=1 # random IPv4 group
        mgid=ff12:601b::16    # MLDv2-capable routers
        mgid=ff12:401b::16    # IGMP
        mgid=ff12:601b::2     # All routers
        mgid=ff12::1,sl=1,Q_Key=0xDEADBEEF,rate=3,mtu=2 # random group
        ALL=full;`, []string{defaultRules + " ALL=full" + defaultGroup +
			" [ff12:401b:ffff::707 mtu=4 rate=3 sl=1 q=0xb1b tc=0 fl=0x0]" +
			" [ff12:601b:ffff::16 mtu=4 rate=3 sl=0 q=0xb1b tc=0 fl=0x0]" +
			" [ff12:401b:ffff::16 mtu=4 rate=3 sl=0 q=0xb1b tc=0 fl=0x0]" +
			" [ff12:601b:ffff::2 mtu=4 rate=3 sl=0 q=0xb1b tc=0 fl=0x0]" +
			" [ff12::1 mtu=2 rate=3 sl=1 q=0xdeadbeef tc=0 fl=0x0]"}, 0},
		{"group of a second scope", "P=2,ipoib:\n mgid=ff12:401b:8002::7,scope=5\n ALL=full;", []string{defaultRules,
			"P=0002 ALL=full [ff12:401b:8002::ffff:ffff mtu=4 rate=3 sl=0 q=0xb1b tc=0 fl=0x0] [ff15:401b:8002::7 mtu=4 rate=3 sl=0 q=0xb1b tc=0 fl=0x0]"}, 0},
		{"group defined twice", "P=2,ipoib:ALL=full;\nP=2,ipoib,mtu=5:ALL=full;", []string{defaultRules,
			"P=0002 ALL=full ALL=full [ff12:401b:8002::ffff:ffff mtu=4 rate=3 sl=0 q=0xb1b tc=0 fl=0x0]"}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := parsePartitions(t, tt.text)
			if got := describe(c); !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			if len(c.Warnings) != tt.warnings {
				t.Errorf("warnings %v", c.Warnings)
			}
		})
	}
}

func TestParsePartitionsErrors(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		line       int
		want       string
	}{
		{"no definition", "\nALL=full;", 2, "no partition definition"},
		{"bad P_Key", "P=zzz : ALL;", 1, `P_Key "zzz"`},
		{"P_Key too large", "P=0x10000 : ALL;", 1, "out of range"},
		{"P_Key without partition", "P=0x8000 : ALL;", 1, "out of range"},
		{"bad port", "# 1\n# 2\nP=1 : ALL,\n xyz;", 4, `port "xyz"`},
		{"port 0", "P=1 : 0;", 1, "port"},
		{"MTU", "P=1,mtu=6 : ALL;", 1, "mtu=6"},
		{"MTU as bytes", "P=1,mtu=2048 : ALL;", 1, "mtu=2048"},
		{"rate", "P=1,rate=1 : ALL;", 1, "rate=1"},
		{"SL", "P=1,sl=16 : ALL;", 1, "sl=16"},
		{"scope", "P=1,scope=0 : ALL;", 1, "scope=0"},
		{"Q_Key", "P=1,Q_Key=hello : ALL;", 1, "Q_Key=hello"},
		{"TClass", "P=1,TClass=256 : ALL;", 1, "TClass"},
		{"flow label", "P=1,FlowLabel=0x100000 : ALL;", 1, "FlowLabel"},
		{"flag without value", "P=1,mtu : ALL;", 1, "needs a value"},
		{"defmember", "P=1,defmember=none : ALL;", 1, "defmember"},
		{"mgid", "P=1 :\n mgid=fe80::1\n ALL;", 2, "not a multicast GID"},
		{"mgid text", "P=1 :\n mgid=hello\n ALL;", 2, "not a multicast GID"},
		{"mgid of another partition", "P=1 :\n mgid=ff12:401b:8002::1\n ALL;", 2, "P_Key"},
		{"MTU of an IP group", "P=1,ipoib :\n mgid=ff12:401b::1,mtu=3\n ALL;", 2, "MTU and rate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParsePartitions(strings.NewReader(tt.text))
			var e *ParseError
			if !errors.As(err, &e) || e.Line != tt.line || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want line %d, %q", err, tt.line, tt.want)
			}
			if err != nil && !strings.HasPrefix(err.Error(), fmt.Sprintf("sm: partitions, line %d: ", tt.line)) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestOpenSMExamples has the examples of OpenSM's partition-config.txt.
func TestOpenSMExamples(t *testing.T) {
	c := parsePartitions(t, `
 Default=0x7fff : ALL, SELF=full ;
 Default=0x7fff : ALL, ALL_SWITCHES=full, SELF=full ;

 NewPartition , ipoib : 0x123456=full, 0x3456789034=limi, 0x2134af2306 ;

 YetAnotherOne = 0x300 : SELF=full ;
 YetAnotherOne = 0x300 : ALL=limited ;

 ShareIO = 0x80 , defmember=full : 0x123451, 0x123452;
 # 0x123453, 0x123454 will be limited
 ShareIO = 0x80 : 0x123453, 0x123454, 0x123455=full;
 # 0x123456, 0x123457 will be limited
 ShareIO = 0x80 , defmember=limited : 0x123456, 0x123457, 0x123458=full;
 ShareIO = 0x80 , defmember=full : 0x123459, 0x12345a;
 ShareIO = 0x80 , defmember=full : 0x12345b, 0x12345c=limited, 0x12345d;
`)
	ca := func(g rdma.GUID) endPort { return endPort{guid: g, kind: mad.NodeTypeCA} }
	for _, tt := range []struct {
		pkey rdma.PKey
		port endPort
		want Membership
	}{
		{0x7fff, ca(7), LimitedMember},
		{0x7fff, endPort{guid: 7, kind: mad.NodeTypeSwitch}, FullMember},
		{0x7fff, endPort{guid: 7, kind: mad.NodeTypeCA, self: true}, FullMember},
		{1, ca(0x123456), FullMember}, {1, ca(0x3456789034), LimitedMember}, {1, ca(0x2134af2306), LimitedMember}, {1, ca(9), NotMember},
		// Of two rules for a port the later one counts, as in OpenSM.
		{0x300, endPort{guid: 1, kind: mad.NodeTypeCA, self: true}, LimitedMember}, {0x300, ca(9), LimitedMember},
		{0x80, ca(0x123451), FullMember}, {0x80, ca(0x123453), LimitedMember}, {0x80, ca(0x123455), FullMember},
		{0x80, ca(0x123457), LimitedMember}, {0x80, ca(0x123458), FullMember}, {0x80, ca(0x12345a), FullMember},
		{0x80, ca(0x12345b), FullMember}, {0x80, ca(0x12345c), LimitedMember}, {0x80, ca(0x12345d), FullMember},
	} {
		if got, _ := c.byPKey(tt.pkey).member(tt.port); got != tt.want {
			t.Errorf("partition %v, port %+v: %v, want %v", tt.pkey, tt.port, got, tt.want)
		}
	}
	if len(c.Warnings) != 0 {
		t.Errorf("%v", c.Warnings)
	}
}

func FuzzParsePartitions(f *testing.F) {
	f.Add("Default=0x7fff,ipoib,mtu=4,rate=3,sl=0,scope=2,scope=e,Q_Key=0x0b1b,defmember=both : ALL=full, SELF;")
	f.Add("P=1 :\n mgid=ff12:401b::1,sl=1\n 0x10=full,\n 16;\n")
	f.Add("a:;;b=1:1;#x\n:2")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParsePartitions(strings.NewReader(text))
		if err != nil {
			var e *ParseError
			if !errors.As(err, &e) || e.Line < 1 {
				t.Errorf("%v", err)
			}
			return
		}
		seen := map[rdma.PKey]bool{}
		for _, p := range c.List {
			if p.PKey.IsFull() || p.PKey == 0 || seen[p.PKey] || p.SL > 15 || p.Name == "" {
				t.Errorf("partition %+v", p)
			}
			seen[p.PKey] = true
			for _, g := range p.Groups {
				if !g.MGID.IsMulticast() || !g.MTU.IsValid() || !g.Rate.IsValid() || g.SL > 15 || g.FlowLabel > 0xfffff {
					t.Errorf("group %+v", g)
				}
				if isIPoIB(g.MGID) && mgidPKey(g.MGID) != p.PKey.Full() {
					t.Errorf("group %v in partition %v", g.MGID, p.PKey)
				}
			}
		}
		if !seen[0x7fff] {
			t.Error("no default partition")
		}
	})
}

func TestLayoutPKeys(t *testing.T) {
	for _, tt := range []struct {
		name      string
		old, want keys
		first     rdma.PKey
		size      int
		table     keys
		left      keys
	}{
		{"new port", keys{0xffff, 0, 0, 0}, keys{0xffff, 0x8002}, 0xffff, 4, keys{0xffff, 0x8002, 0, 0}, nil},
		{"kept places", keys{0xffff, 0x8003, 0x8002, 0}, keys{0xffff, 0x8002, 0x8004}, 0xffff, 4, keys{0xffff, 0, 0x8002, 0x8004}, nil},
		{"membership changes in place", keys{0xffff, 0x8002, 0x8003, 0}, keys{0x7fff, 2, 0x8003}, 0x7fff, 4, keys{0x7fff, 2, 0x8003, 0}, nil},
		{"gap when full to the end", keys{0xffff, 0x8003, 0x8002, 0x8005}, keys{0xffff, 0x8002, 0x8004, 0x8005}, 0xffff, 4, keys{0xffff, 0x8004, 0x8002, 0x8005}, nil},
		{"too many", keys{0xffff, 0}, keys{0xffff, 0x8002, 0x8003}, 0xffff, 2, keys{0xffff, 0x8002}, keys{0x8003}},
		{"another at index 0", keys{0xffff, 0x8002, 0}, keys{0xffff, 0x8002}, 0x8002, 3, keys{0x8002, 0, 0xffff}, nil},
		{"both", keys{0xffff, 0, 0, 0}, keys{0xffff, 0x8002, 2}, 0xffff, 4, keys{0xffff, 0x8002, 2, 0}, nil},
		{"from both to limited", keys{0xffff, 0x8002, 2, 0}, keys{0xffff, 2}, 0xffff, 4, keys{0xffff, 0, 2, 0}, nil},
		{"no table", nil, keys{0xffff}, 0xffff, 0, keys{}, keys{0xffff}},
	} {
		table, left := layoutPKeys(tt.old, tt.want, tt.first, tt.size)
		if !slices.Equal(table, tt.table) || !slices.Equal(left, tt.left) {
			t.Errorf("%s: %v left %v, want %v left %v", tt.name, table, left, tt.table, tt.left)
		}
	}
	if table, ok := peerTable(keys{0xffff, 0, 0x8002, 2, 3}, 4); !ok || !slices.Equal(table, keys{0xffff, 0x8002, 3, 0}) {
		t.Errorf("facing port: %v %v", table, ok)
	}
	if _, ok := peerTable(keys{0xffff, 0x8002}, 1); ok {
		t.Error("facing port with too few entries")
	}
}

type keys = []rdma.PKey
