package debugfs

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ipoib/datapath"
	"ipoib/rdma"
)

// The files in testdata are those of the kernel's driver, byte for byte.
func golden(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestGroups(t *testing.T) {
	boot := time.Unix(1000, 0)
	at := func(jiffies int64) time.Time {
		return boot.Add(time.Duration(jiffies-initialJiffies) * (time.Second / hz))
	}
	group := func(gid string, jiffies int64, sendOnly bool) datapath.GroupView {
		return datapath.GroupView{
			MGID: rdma.MustParseGID(gid), Created: at(jiffies), Complete: true, SendOnly: sendOnly,
		}
	}
	got := Groups([]datapath.GroupView{
		group("ff12:401b:ffff::1", 4294893952, false),
		group("ff12:401b:ffff::5:607", 4294895896, true),
		group("ff12:401b:ffff::ffff:ffff", 4294893952, false),
		group("ff12:601b:ffff::1", 4294893952, false),
		group("ff12:601b:ffff::2", 4294894328, true),
		group("ff12:601b:ffff::16", 4294893966, true),
		group("ff12:601b:ffff::77", 4294896177, true),
		group("ff12:601b:ffff::1:ffa0:b0c1", 4294893961, false),
	}, Clock{boot})
	if d := cmp.Diff(golden(t, "ib0_mcg"), string(got)); d != "" {
		t.Error(d)
	}
}

func TestGroupIncomplete(t *testing.T) {
	got := Groups([]datapath.GroupView{{
		MGID: rdma.MustParseGID("ff12:401b:ffff::ffff:ffff"), Created: time.Unix(2, 4e6), Queued: 64, SendOnly: true,
	}}, Clock{time.Unix(0, 0)})
	const want = "GID: ff12:401b:ffff:0:0:0:ffff:ffff\n" +
		"  created: 4294892797\n  queuelen:        64\n  complete:        no\n  send_only:      yes\n\n"
	if string(got) != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestPaths(t *testing.T) {
	got := Paths([]datapath.PathView{
		{GID: rdma.MustParseGID("fe80::beef")},
		{GID: rdma.MustParseGID("fe80::2:c903:a0:b0c2"), DLID: 3, Rate: rdma.Rate100},
	})
	if d := cmp.Diff(golden(t, "ib0_path"), string(got)); d != "" {
		t.Error(d)
	}
}

func TestEmpty(t *testing.T) {
	if g, p := Groups(nil, Clock{}), Paths(nil); len(g) != 0 || len(p) != 0 {
		t.Errorf("%q %q", g, p)
	}
}

// The rates of table 10, each with its unpadded remainder.
func TestRates(t *testing.T) {
	for code, want := range map[rdma.Rate]string{
		2: "       2.500", 3: "      10.0", 4: "      30.0", 5: "       5.0", 6: "      20.0", 7: "      40.0",
		8: "      60.0", 9: "      80.0", 10: "     120.0", 11: "      14.62", 12: "      56.250",
		13: "     112.500", 14: "     168.750", 15: "      25.781", 16: "     103.125", 17: "     206.250",
		18: "     309.375", 19: "      28.125", 20: "      53.125", 21: "     425.0", 22: "     637.500",
		63: "       0.-1",
	} {
		got := string(Paths([]datapath.PathView{{DLID: 1, SL: 15, Rate: code}}))
		wantText := "GID: 0:0:0:0:0:0:0:0\n  complete:    yes\n  DLID:     0x0001\n  SL:           15\n  rate: " + want + " Gb/sec\n\n"
		if got != wantText {
			t.Errorf("rate %d:\n%swant\n%s", code, got, wantText)
		}
	}
}
