package ethnl

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"ipoib/nl"
)

// afterSixOne are attributes that the kernel of testdata/policy.txt takes and
// Linux 6.1 does not, by command and attribute.
var afterSixOne = map[string]bool{
	"16 11": true, "16 14": true, "16 15": true, "16 17": true,
	"20 26": true, "20 27": true, "20 28": true, "20 29": true, "20 30": true, "20 31": true, "20 32": true,
	"21 6": true, "25 7": true, "32 5": true, "37 6": true, "37 12": true, "37 16": true,
}

// statsSinceSixOne are the commands that got statistics after Linux 6.1.
var statsSinceSixOne = map[string]bool{"6": true, "25": true}

// TestPolicies compares the policies with what a kernel tells of its own.
func TestPolicies(t *testing.T) {
	got := make(map[string]string)
	for cmd, p := range RequestPolicies() {
		if p == nil {
			continue
		}
		describe(got, fmt.Sprint(cmd, " "), p)
		for n, a := range p.Attrs {
			if a := describeAttr(&a); a != "" && strings.HasPrefix(a, "nested") && isHeader(cmd, n) {
				h := headerPolicy
				if cmd == CmdPauseGet || cmd == CmdFECGet {
					h = headerStatsPolicy
				}
				describe(got, fmt.Sprintf("%d %d.", cmd, n), h)
			}
		}
	}
	compared := 0
	for _, w := range facts(t, "policy.txt") {
		key, want := w[0]+" "+w[1], strings.Join(w[2:], " ")
		attr, _, _ := strings.Cut(key, ".")
		if afterSixOne[attr] || strings.HasSuffix(w[1], ".4") { // PHY_INDEX of the header is newer
			continue
		}
		if statsSinceSixOne[w[0]] {
			want = strings.Replace(want, "mask=7", "mask=3", 1)
		}
		// A nest without a policy of its own says nothing more.
		if got[key] != want && got[key]+" " != want {
			t.Errorf("command %s: %q, kernel has %q", key, got[key], want)
		}
		compared++
		delete(got, key)
	}
	for key, p := range got {
		t.Errorf("command %s: %q, kernel has nothing", key, p)
	}
	if compared < 200 {
		t.Errorf("compared %d", compared)
	}
}

func isHeader(cmd, n int) bool { return n == 1 || cmd == CmdStatsGet && n == StatsHeader }

func describe(into map[string]string, prefix string, p *nl.Policy) {
	for n := range p.Attrs {
		if s := describeAttr(&p.Attrs[n]); s != "" {
			into[prefix+strconv.Itoa(n)] = s
		}
	}
}

// describeAttr prints a policy as in testdata/policy.txt.
func describeAttr(a *nl.AttrPolicy) string {
	e := nl.NewEncoder(nil)
	if !a.Describe(e, 1, nil) {
		return ""
	}
	kinds := []string{"?", "flag", "u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "binary", "string",
		"nul-string", "nested", "nested-array", "bitfield32"}
	var kind, limits string
	for nest := range (nl.Attr{Data: e.Bytes()}).Children() {
		order := map[uint16]string{nl.PolicyMinU: "min", nl.PolicyMaxU: "max", nl.PolicyMask: "mask"}
		for _, t := range []uint16{nl.PolicyMinU, nl.PolicyMaxU, nl.PolicyMask} {
			for x := range nest.Children() {
				if x.Type == t {
					limits += fmt.Sprintf(" %s=%d", order[t], x.Uint64())
				}
			}
		}
		for x := range nest.Children() {
			switch x.Type {
			case nl.PolicyType:
				kind = kinds[x.Uint32()]
			case nl.PolicyMinLen:
				limits += fmt.Sprintf(" minlen=%d", x.Uint32())
			case nl.PolicyMaxLen:
				limits += fmt.Sprintf(" maxlen=%d", x.Uint32())
			}
		}
	}
	return kind + limits
}
