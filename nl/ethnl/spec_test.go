package ethnl

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
)

// facts returns the lines of a file in testdata, split into words.
func facts(tb testing.TB, name string) [][]string {
	tb.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var out [][]string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if line := sc.Text(); !strings.HasPrefix(line, "#") {
			out = append(out, strings.Fields(line))
		}
	}
	return out
}

// specSets are the attribute sets by their name in the specification.
func specSets() map[string]*Set {
	m := make(map[string]*Set)
	for s, name := range setNames {
		m[name] = s
	}
	return m
}

// setNames are those names.
var setNames = map[*Set]string{
	&setHeader: "header", &setBitsetBit: "bitset-bit", &setBitsetBits: "bitset-bits", &setBitset: "bitset",
	&setString: "string", &setStrings: "strings", &setStringSet: "stringset", &setStringSets: "stringsets",
	&setStrset: "strset", &setLinkInfo: "linkinfo", &setLinkModes: "linkmodes", &setLinkState: "linkstate",
	&setDebug: "debug", &setWoL: "wol", &setFeatures: "features", &setPrivFlags: "privflags", &setRings: "rings",
	&setChannels: "channels", &setCoalesce: "coalesce", &setPause: "pause", &setPauseStat: "pause-stat",
	&setEEE: "eee", &setTSInfo: "tsinfo", &setPHCVClocks: "phc-vclocks", &setCableTest: "cable-test",
	&setCableResult: "cable-result", &setCableFaultLength: "cable-fault-length", &setCableNest: "cable-nest",
	&setCableTestNTF: "cable-test-ntf", &setCableTestTDRCfg: "cable-test-tdr-cfg", &setCableTestTDR: "cable-test-tdr",
	&setCableTestTDRNTF: "cable-test-tdr-ntf", &setTunnelUDPEntry: "tunnel-udp-entry",
	&setTunnelUDPTable: "tunnel-udp-table", &setTunnelUDP: "tunnel-udp", &setTunnelInfo: "tunnel-info", &setFEC: "fec",
	&setFECStat: "fec-stat", &setModuleEEPROM: "module-eeprom", &setStats: "stats", &setStatsGrp: "stats-grp",
	&setModule: "module", &setPSE: "pse",
	&setCableAmplitude: "cable-amplitude", &setCablePulse: "cable-pulse", &setCableStep: "cable-step",
	&setCableTDRNest: "cable-tdr-nest",
}

func specName(s *Set) string { return setNames[s] }

// specKind is the type that the specification has for a kind.
func specKind(k Kind) string {
	switch k {
	case U8, Bool:
		return "u8"
	case U16:
		return "u16"
	case U32, X32:
		return "u32"
	case U64:
		return "u64"
	case S16:
		return "s16"
	case Flag:
		return "flag"
	case String:
		return "string"
	case Binary:
		return "binary"
	case Nested:
		return "nest"
	}
	return "pad"
}

// TestSpec compares the schema with the public specification of the family:
// numbers, names and types of all attributes, numbers of all messages.
func TestSpec(t *testing.T) {
	sets := specSets()
	seen := make(map[*Set]int)
	for _, w := range facts(t, "spec.txt") {
		n := 0
		if len(w) > 3 && w[0] == "set" {
			n, _ = strconv.Atoi(w[3])
		}
		switch w[0] {
		case "set":
			s := sets[w[1]]
			if s == nil || w[4] == "unused" || n >= len(*s) {
				continue // newer than Linux 6.1, or no set of its own
			}
			a := (*s)[n]
			name := "ETHTOOL_A_" + strings.ToUpper(strings.ReplaceAll(w[1]+"_"+w[2], "-", "_"))
			if w[1] == "pse" && n > 1 {
				name = "ETHTOOL_A_" + strings.ToUpper(strings.ReplaceAll(w[2], "-", "_"))
			}
			if w[4] == "pad" {
				continue
			}
			seen[s]++
			kind := specKind(a.Kind)
			switch {
			case a.Name != name:
				t.Errorf("%s %d is %s, not %s", w[1], n, a.Name, name)
			case w[1] == "fec-stat": // arrays of u64 in a binary
			case w[1] == "cable-test-tdr-ntf" && w[2] == "nest": // the specification names the wrong set
			case w[1] == "stats-grp" && w[2] == "stat": // a nest with one u64
			case kind != w[4]:
				t.Errorf("%s is of type %s, not %s", name, kind, w[4])
			case kind == "nest" && len(w) > 5 && a.Nested != &setHist && specName(a.Nested) != w[5]:
				t.Errorf("%s nests %q, not %s", name, specName(a.Nested), w[5])
			}
		case "op", "reply", "ntf":
			checkMessage(t, w)
		}
	}
	for s, name := range setNames {
		have := 0
		for _, a := range *s {
			if a.Name != "" && !strings.HasSuffix(a.Name, "_PAD") {
				have++
			}
		}
		// The sets of TDR results are not in the specification.
		tdr := strings.HasPrefix(name, "cable-a") || strings.HasPrefix(name, "cable-p") ||
			strings.HasPrefix(name, "cable-s") || name == "cable-tdr-nest"
		if seen[s] != have && !tdr {
			t.Errorf("set %s has %d attributes, %d of them compared", name, have, seen[s])
		}
	}
}

func checkMessage(t *testing.T, w []string) {
	n, _ := strconv.Atoi(w[2])
	msgs, name := UserMessages, "ETHTOOL_MSG_"+strings.ToUpper(strings.ReplaceAll(w[1], "-", "_"))
	if w[0] != "op" {
		msgs = KernelMessages
	}
	if w[0] == "reply" {
		name += "_REPLY"
	}
	if n >= len(msgs) {
		return // newer
	}
	if got := msgs[n].Name; got != name {
		t.Errorf("message %d is %s, not %s", n, got, name)
	}
	if w[0] == "op" && specName(msgs[n].Attrs) != w[3] {
		t.Errorf("%s has the attributes of %q, not %s", name, specName(msgs[n].Attrs), w[3])
	}
	if w[0] == "reply" {
		for _, a := range w[3:] {
			found := false
			for _, d := range *msgs[n].Attrs {
				found = found || strings.HasSuffix(d.Name, "_"+strings.ToUpper(strings.ReplaceAll(a, "-", "_")))
			}
			if !found && !newer[a] {
				t.Errorf("%s lacks %s", name, a)
			}
		}
	}
}

// newer are attributes of replies that came after Linux 6.1.
var newer = map[string]bool{
	"ext-down-cnt": true, "rx-push": true, "tx-push-buf-len": true, "tx-push-buf-len-max": true,
	"tx-aggr-max-bytes": true, "tx-aggr-max-frames": true, "tx-aggr-time-usecs": true, "rx-profile": true,
	"tx-profile": true, "stats-src": true, "stats": true, "src": true, "c33-pse-admin-state": true,
	"c33-pse-admin-control": true, "c33-pse-pw-d-status": true, "c33-pse-pw-class": true,
	"c33-pse-actual-pw": true, "c33-pse-ext-state": true, "c33-pse-ext-substate": true,
	"c33-pse-avail-pw-limit": true, "c33-pse-pw-limit-ranges": true,
}

// TestConstants compares the constants with the schema, by name.
func TestConstants(t *testing.T) {
	want := make(map[string]int)
	flat := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "")) }
	for s := range setNames {
		for n, a := range *s {
			if a.Name != "" {
				want[flat(strings.TrimPrefix(a.Name, "ETHTOOL_A_"))] = n
			}
		}
	}
	for n, m := range UserMessages {
		want["cmd"+flat(strings.TrimPrefix(m.Name, "ETHTOOL_MSG_"))] = n
	}
	for n, m := range KernelMessages {
		want["msg"+flat(strings.TrimPrefix(m.Name, "ETHTOOL_MSG_"))] = n
	}
	alias := map[string]string{
		"tunneludptablenest": "tunneludptable", "cableamplitudemillivolt": "cableamplitudemv",
		"cablepulsemillivolt": "cablepulsemv", "cablefaultlengthcentimetres": "cablefaultlengthcm",
	}
	compared := 0
	for _, file := range []string{"attrs.go", "commands.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			key := strings.ToLower(v.Names[0].Name)
			if a, ok := alias[key]; ok {
				key = a
			}
			got := v.Values[0].(*ast.BasicLit).Value
			if strings.HasSuffix(key, "pad") {
				return true
			}
			if w, ok := want[key]; !ok || got != fmt.Sprint(w) {
				t.Errorf("%s = %s, schema has %d (%v)", v.Names[0].Name, got, w, ok)
			}
			compared++
			return true
		})
	}
	if compared < 260 {
		t.Errorf("compared %d constants", compared)
	}
}
