// Package debugfs prints the files <if>_mcg and <if>_path that the IPoIB
// driver has in /sys/kernel/debug/ipoib (kernel ipoib_fs.c): its multicast
// groups and its path records. It only formats; the tables are the datapath's.
package debugfs

import (
	"bytes"
	"fmt"
	"time"

	"ipoib/datapath"
)

// Clock turns times into the kernel's jiffies.
type Clock struct {
	// Boot is when the system started.
	Boot time.Time
}

// Jiffies as Debian's kernels count them: HZ ticks a second, from
// INITIAL_JIFFIES, five minutes before a 32-bit counter wraps.
const (
	hz             = 250
	initialJiffies = 1<<32 - 300*hz
)

// Jiffies returns the kernel's tick counter at t.
func (c Clock) Jiffies(t time.Time) int64 {
	return initialJiffies + int64(t.Sub(c.Boot)/(time.Second/hz))
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// Groups prints the records of an <if>_mcg file, in the order given (kernel
// ipoib_mcg_seq_show).
func Groups(groups []datapath.GroupView, c Clock) []byte {
	var b bytes.Buffer
	for i := range groups {
		g := &groups[i]
		fmt.Fprintf(&b, "GID: %s\n  created: %10d\n  queuelen: %9d\n  complete: %9s\n  send_only: %8s\n\n",
			g.MGID.Uncompressed(), c.Jiffies(g.Created), g.Queued, yesNo(g.Complete), yesNo(g.SendOnly))
	}
	return b.Bytes()
}

// Paths prints the records of an <if>_path file, in the order given (kernel
// ipoib_path_seq_show). The remainder of the rate is not padded with zeros.
func Paths(paths []datapath.PathView) []byte {
	var b bytes.Buffer
	for i := range paths {
		p := &paths[i]
		fmt.Fprintf(&b, "GID: %s\n  complete: %6s\n", p.GID.Uncompressed(), yesNo(p.DLID != 0))
		if p.DLID != 0 {
			mbps := p.Rate.Mbps()
			fmt.Fprintf(&b, "  DLID:     0x%04x\n  SL: %12d\n  rate: %8d.%d Gb/sec\n",
				uint16(p.DLID), p.SL, mbps/1000, mbps%1000)
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}
