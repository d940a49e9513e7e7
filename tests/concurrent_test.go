//go:build integration

package tests

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/netlink"

	"ipoib/nl"
	"ipoib/nl/ethnl"
	"ipoib/nl/rtlink"
)

// concurrency is how long TestConcurrentClients lasts: IPOIB_TEST_SECONDS.
func concurrency() time.Duration {
	if n, err := strconv.Atoi(os.Getenv("IPOIB_TEST_SECONDS")); err == nil {
		return time.Duration(n) * time.Second
	}
	return 5 * time.Second
}

// raceBuild builds the programs with the race detector and puts them in front
// of the others.
func raceBuild(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-race", "-o", dir+"/", "ipoib/cmd/ipoib")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("GORACE", "halt_on_error=0")
}

// crowd is what the clients of TestConcurrentClients share.
type crowd struct {
	t      *testing.T
	l      *lab
	parent *rtlink.Link
	end    time.Time
	ops    atomic.Int64
}

// start runs a client until the end; do returns what is wrong.
func (c *crowd) start(wg *sync.WaitGroup, n int, do func(*client, *rand.Rand) error) {
	cl, err := c.l.newClient()
	if err != nil {
		c.t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	wg.Go(func() {
		defer cl.close()
		for time.Now().Before(c.end) {
			if err := do(cl, rng); err != nil {
				c.t.Errorf("client %d: %v", n, err)
				return
			}
			c.ops.Add(1)
		}
	})
}

// owner changes MTU, name and state of a child that is its own, and reads each
// back by both faces.
func owner(dev string) func(*client, *rand.Rand) error {
	return func(c *client, rng *rand.Rand) error {
		l, err := c.get(dev)
		if err != nil {
			return err
		}
		mtu := uint32(100 + rng.IntN(1900))
		up := rng.IntN(4) > 0
		alias := fmt.Sprint("mtu ", mtu)
		_, err = c.link(rtlink.NewLink, 0, l.Index, &up, func(e *nl.Encoder) {
			e.U32(rtlink.AttrMTU, mtu)
			e.Put(rtlink.AttrIfalias, []byte(alias))
		})
		if err != nil {
			return fmt.Errorf("%s: change: %w", dev, err)
		}
		if l, err = c.get(dev); err != nil {
			return err
		}
		if *l.MTU != mtu || l.Alias != alias || (l.Flags&rtlink.FlagUp != 0) != up {
			return fmt.Errorf("%s: set mtu %d, up %v, and read %d, %q, flags %#x", dev, mtu, up, *l.MTU, l.Alias, l.Flags)
		}
		if link, err := c.linkUp(dev); err != nil || link && !up {
			return fmt.Errorf("%s: up %v, ethtool says %v, %w", dev, up, link, err)
		}
		if rng.IntN(10) > 0 {
			return nil
		}
		// Under another name it is the same interface, for everybody.
		other := dev + "x"
		if _, err := c.link(rtlink.NewLink, 0, l.Index, nil, ifname(other)); err != nil {
			return fmt.Errorf("%s: rename: %w", dev, err)
		}
		if _, _, err := c.coalesce(other); err != nil {
			return fmt.Errorf("%s: after the rename: %w", other, err)
		}
		_, err = c.link(rtlink.NewLink, 0, l.Index, nil, ifname(dev))
		return err
	}
}

// gone tells an interface that has just another name from an error.
func gone(err error) error {
	if errno(err) == syscall.ENODEV {
		return nil
	}
	return err
}

// moderator sets both values of the coalescing to the same number, in one
// message, and reads them.
func moderator(dev string) func(*client, *rand.Rand) error {
	return func(c *client, rng *rand.Rand) error {
		v := uint32(rng.IntN(65536))
		if err := c.setCoalesce(dev, v, v); err != nil {
			return gone(err)
		}
		return reader(dev)(c, rng)
	}
}

// switcher sets two features at once.
func switcher(dev string) func(*client, *rand.Rand) error {
	return func(c *client, rng *rand.Rand) error {
		on := rng.IntN(2) == 0
		_, err := c.ethtool(ethnl.CmdFeaturesSet, netlink.Acknowledge, dev, ethnl.FlagOmitReply, func(e *nl.Encoder) {
			e.Nest(ethnl.FeaturesWanted, func() {
				e.Nest(ethnl.BitsetBits, func() {
					for _, name := range []string{"rx-gro", "rx-lro"} {
						e.Nest(ethnl.BitsetBitsBit, func() {
							e.String(ethnl.BitsetBitName, name)
							if on {
								e.Flag(ethnl.BitsetBitValue)
							}
						})
					}
				})
			})
		})
		if err != nil {
			return gone(err)
		}
		return reader(dev)(c, rng)
	}
}

// The bits of rx-gro and rx-lro.
const bitGRO, bitLRO = 14, 15

// reader reads what others change: it must be whole.
func reader(dev string) func(*client, *rand.Rand) error {
	return func(c *client, rng *rand.Rand) error {
		u, f, err := c.coalesce(dev)
		if err != nil {
			return gone(err)
		}
		if u != f {
			return fmt.Errorf("%s: rx-usecs %d, rx-frames %d", dev, u, f)
		}
		m, err := c.ethtool(ethnl.CmdFeaturesGet, 0, dev, ethnl.FlagCompactBitsets, nil)
		if err != nil {
			return gone(err)
		}
		if v := ethnl.ViewBitset(m[ethnl.FeaturesActive]).Value; v.Test(bitGRO) != v.Test(bitLRO) {
			return fmt.Errorf("%s: gro %v, lro %v", dev, v.Test(bitGRO), v.Test(bitLRO))
		}
		if rng.IntN(8) > 0 {
			return nil
		}
		list, err := c.link(rtlink.GetLink, netlink.Dump, 0, nil, nil)
		if err != nil {
			return err
		}
		names, indexes := map[string]bool{}, map[int32]bool{}
		for _, l := range list {
			if names[l.Name] && !strings.HasSuffix(l.Name, "x") || indexes[l.Index] {
				return fmt.Errorf("%s is listed twice", l.Name)
			}
			names[l.Name], indexes[l.Index] = true, true
		}
		if !names["ib0"] {
			return fmt.Errorf("ib0 is not among %d links", len(list))
		}
		return nil
	}
}

// maker makes a child, looks at it by both faces, and deletes it.
func (c *crowd) maker(n int) func(*client, *rand.Rand) error {
	return func(cl *client, rng *rand.Rand) error {
		name := fmt.Sprintf("t%d-%d", n, rng.IntN(1000))
		if err := cl.add(c.parent, name, 0x9000+uint16(n)); err != nil {
			return fmt.Errorf("%s: make: %w", name, err)
		}
		l, err := cl.get(name)
		if err != nil {
			return err
		}
		if err := cl.setCoalesce(name, 3, 3); err != nil {
			return fmt.Errorf("%s: coalesce: %w", name, err)
		}
		if _, err := cl.link(rtlink.DelLink, 0, l.Index, nil, nil); err != nil {
			return fmt.Errorf("%s: delete: %w", name, err)
		}
		if _, err := cl.get(name); errno(err) != syscall.ENODEV {
			return fmt.Errorf("%s: link after the deletion: %w", name, err)
		}
		if _, _, err := cl.coalesce(name); errno(err) != syscall.ENODEV {
			return fmt.Errorf("%s: ethtool after the deletion: %w", name, err)
		}
		return nil
	}
}

// TestConcurrentClients: 50 clients change and read at once, at a service with
// the race detector. What they read is whole and what they set is there; in
// the end link, ethtool, the kernel and the datapath agree.
func TestConcurrentClients(t *testing.T) {
	raceBuild(t)
	l := newLab(t, "--hca", "soft0")
	first, err := l.newClient()
	if err != nil {
		t.Fatal(err)
	}
	defer first.close()
	ib0, err := first.get("ib0")
	if err != nil {
		t.Fatal(err)
	}
	var devs []string
	for n := range 5 {
		dev := fmt.Sprintf("ib0.%04x", 0x8001+n)
		if err := first.add(ib0, dev, 0x8001+uint16(n)); err != nil {
			t.Fatal(err)
		}
		if err := switcher(dev)(first, rand.New(rand.NewPCG(1, 1))); err != nil {
			t.Fatal(err)
		}
		devs = append(devs, dev)
	}
	c := &crowd{t: t, l: l, parent: ib0, end: time.Now().Add(concurrency())}
	var wg sync.WaitGroup
	n := 0
	add := func(do func(*client, *rand.Rand) error) { c.start(&wg, n, do); n++ }
	for _, dev := range devs {
		add(owner(dev))
		for range 2 {
			add(moderator(dev))
			add(switcher(dev))
		}
		for range 4 {
			add(reader(dev))
		}
	}
	for k := range 5 {
		add(c.maker(k))
	}
	if n != 50 {
		t.Fatalf("%d clients", n)
	}
	wg.Wait()
	t.Logf("%d operations in %v", c.ops.Load(), concurrency())
	for _, dev := range append(devs, "ib0") {
		// Carrier comes when it comes.
		var err error
		for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			if err = c.agree(first, dev); err == nil || time.Now().After(end) {
				break
			}
		}
		if err != nil {
			t.Errorf("%s: %v", dev, err)
		}
	}
	if list, err := first.link(rtlink.GetLink, netlink.Dump, 0, nil, nil); err != nil || len(list) != 6 {
		t.Errorf("%d links are left, %v", len(list), err)
	}
	text, err := os.ReadFile(l.log.Name())
	if err != nil || strings.Contains(string(text), "DATA RACE") {
		t.Errorf("races: %v", err)
	}
}

// agree compares what the faces, the kernel and the datapath say of an
// interface.
func (c *crowd) agree(cl *client, dev string) error {
	sent := c.l.stat0(dev, "tx_packets")
	l, err := cl.get(dev)
	if err != nil {
		return err
	}
	up, err := cl.linkUp(dev)
	if err != nil {
		return err
	}
	if up != (l.Flags&rtlink.FlagRunning != 0) {
		return fmt.Errorf("link flags %#x, ethtool says %v", l.Flags, up)
	}
	for file, want := range map[string]string{
		"mtu": fmt.Sprint(*l.MTU), "ifindex": fmt.Sprint(l.Index), "carrier": map[bool]string{true: "1", false: "0"}[up],
	} {
		if file == "carrier" && l.Flags&rtlink.FlagUp == 0 {
			continue // cannot be read while it is down
		}
		b, err := os.ReadFile(filepath.Join("/sys/class/net", dev, file))
		if err != nil {
			return err
		}
		if got := strings.TrimSpace(string(b)); got != want {
			return fmt.Errorf("%s is %s, the kernel says %s", file, want, got)
		}
	}
	b, err := os.ReadFile(filepath.Join("/sys/class/net", dev, "flags"))
	if err != nil {
		return err
	}
	flags, err := strconv.ParseUint(strings.TrimSpace(string(b)), 0, 32)
	if err != nil {
		return err
	}
	if uint32(flags)&rtlink.FlagUp != l.Flags&rtlink.FlagUp {
		return fmt.Errorf("flags %#x, the kernel says %#x", l.Flags, flags)
	}
	// It may have sent something in between.
	if n := l.Stats64.TxPackets; n < sent || n > c.l.stat0(dev, "tx_packets") {
		return fmt.Errorf("%d packets, the datapath says %d", n, sent)
	}
	return nil
}
