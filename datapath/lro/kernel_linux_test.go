package lro

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ipoib/datapath/internal/netns/netnstest"
	"ipoib/datapath/tun"
	"ipoib/rdma"
)

// kernelGRO is a veth whose receiving end merges: what one end sends is seen
// at the other as the kernel's GRO leaves it, by a packet socket that shows
// the segment size (PACKET_VNET_HDR).
type kernelGRO struct {
	tb     testing.TB
	tx, rx int
	addr   unix.SockaddrLinklayer
}

func newKernelGRO(tb testing.TB) *kernelGRO {
	tb.Helper()
	a, b := netnstest.New(tb), netnstest.New(tb)
	c := a.Command(tb.Context(), "ip", "link", "add", "name", "va", "type", "veth", "peer", "name", "vb", "netns", "/proc/self/fd/4")
	c.ExtraFiles = append(c.ExtraFiles, b.File)
	if out, err := c.CombinedOutput(); err != nil {
		tb.Fatalf("%v: %s", err, out)
	}
	a.Run(tb, "ip", "link", "set", "va", "address", "02:00:00:00:00:0a", "mtu", "9000", "up")
	b.Run(tb, "ip", "link", "set", "vb", "address", "02:00:00:00:00:0b", "mtu", "9000", "up")
	b.Run(tb, "ethtool", "-K", "vb", "gro", "on", "rx-udp-gro-forwarding", "on")
	// What arrives within a tick waits for more, for up to 30 ms: the frames
	// below are sent one by one.
	b.Run(tb, "unshare", "-m", "sh", "-c", "mount -t sysfs none /sys && echo 30000000 > /sys/class/net/vb/gro_flush_timeout")
	k := &kernelGRO{tb: tb}
	socket := func(ns *netnstest.NS, name string, protocol uint16, options map[int]int) (fd int) {
		ns.Do(tb, func() (err error) {
			if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
				return err
			}
			for o, v := range options {
				if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, o, v); err != nil {
					return fmt.Errorf("option %d: %w", o, err)
				}
			}
			var ifr *unix.Ifreq
			if ifr, err = unix.NewIfreq(name); err != nil {
				return err
			}
			if err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr); err != nil {
				return err
			}
			k.addr.Ifindex = int(ifr.Uint32())
			return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: k.addr.Ifindex})
		})
		tb.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	k.rx = socket(b, "vb", 0x0300, map[int]int{unix.PACKET_VNET_HDR: 1}) // ETH_P_ALL
	k.tx = socket(a, "va", 0, nil)
	if err := unix.SetsockoptTimeval(k.rx, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 90000}); err != nil {
		tb.Fatal(err)
	}
	if err := unix.SetsockoptInt(k.rx, unix.SOL_SOCKET, unix.SO_RCVBUF, 8<<20); err != nil {
		tb.Fatal(err)
	}
	return k
}

// written is a packet as the host gets it.
type written struct {
	size uint16 // of a segment, 0 for a plain packet
	ip   []byte
}

func (w written) String() string { return fmt.Sprintf("%d %x", w.size, w.ip) }

// replay sends IP packets and returns what the kernel made of them.
func (k *kernelGRO) replay(ips [][]byte) (out []written) {
	k.tb.Helper()
	b := make([]byte, 10+14+1<<16)
	for { // what came too late for the last time
		if _, _, err := unix.Recvfrom(k.rx, b, unix.MSG_DONTWAIT); err != nil {
			break
		}
	}
	for _, ip := range ips {
		frame := []byte{2, 0, 0, 0, 0, 11, 2, 0, 0, 0, 0, 10, 8, 0}
		if ip[0]>>4 == 6 {
			frame[12], frame[13] = 0x86, 0xdd
		}
		if err := unix.Sendto(k.tx, append(frame, ip...), 0, &k.addr); err != nil {
			k.tb.Fatal(err)
		}
	}
	for n := 0; n < len(ips); {
		size, _, err := unix.Recvfrom(k.rx, b, 0)
		if err != nil {
			break // nothing comes any more
		}
		ip := b[24:size]
		if !isTraffic(ip) {
			continue // the host's own
		}
		w := written{ip: slices.Clone(ip)}
		if b[1] != 0 { // gso_type
			w.size = binary.NativeEndian.Uint16(b[4:])
		}
		n += w.datagrams()
		out = append(out, w)
	}
	return out
}

// isTraffic reports whether an IP packet is of a test.
func isTraffic(ip []byte) bool {
	return len(ip) > 20 && (ip[0]>>4 == 4 && [3]byte(ip[16:]) == [3]byte(addr4[:]) || ip[0]>>4 == 6 && len(ip) > 40 && [15]byte(ip[24:]) == [15]byte(addr6[:]))
}

// datagrams returns how many packets came into this one.
func (w written) datagrams() int {
	if w.size == 0 {
		return 1
	}
	l4, proto := 20, w.ip[9]
	if w.ip[0]>>4 == 6 {
		l4, proto = 40, w.ip[6]
	}
	header := l4 + 8
	if proto == 6 {
		header = l4 + int(w.ip[l4+12]>>4)*4
	}
	return (len(w.ip) - header + int(w.size) - 1) / int(w.size)
}

// ours is the same by a Merger.
func ours(ips [][]byte) (out []written) {
	var pkts []tun.Packet
	for _, ip := range ips {
		pkts = append(pkts, raw(ip))
	}
	var m Merger
	for _, p := range m.Merge(pkts, both) {
		w := written{ip: flat(p)[4:]}
		if p.Offload.Segment != rdma.SegmentNone {
			w.size = p.Offload.SegmentSize
		}
		out = append(out, w)
		p.Free()
	}
	return out
}

// sorted makes results comparable: the kernel has no order between flows.
func sorted(ws []written) []written {
	slices.SortFunc(ws, func(a, b written) int { return bytes.Compare(a.ip, b.ip) })
	return ws
}

func same(a, b []written) bool {
	return slices.EqualFunc(a, b, func(x, y written) bool { return x.size == y.size && bytes.Equal(x.ip, y.ip) })
}

// agrees compares, and tries again when that may be because the kernel let its
// timer run out in the middle: on a busy machine that happens. want are the
// sizes of what the kernel makes of it where that is something else.
func (k *kernelGRO) agrees(ips [][]byte, want []int) (kernel, our []written, ok bool) {
	our = sorted(ours(ips))
	for try := range 40 {
		// Longer each time, until what is under way has come.
		time.Sleep(time.Duration(1+5*try) * time.Millisecond)
		if kernel = sorted(k.replay(ips)); same(kernel, our) || want != nil && slices.Equal(counts(kernel), want) {
			return kernel, our, true
		}
	}
	return kernel, our, false
}

// counts returns how many datagrams came into each packet, in order.
func counts(ws []written) (out []int) {
	for _, w := range ws {
		out = append(out, w.datagrams())
	}
	slices.Sort(out)
	return out
}

// TestIntegrationKernelGRO replays packets into the kernel's GRO and wants the
// same packets with the same segment sizes, octet for octet.
func TestIntegrationKernelGRO(t *testing.T) {
	k := newKernelGRO(t)
	for _, c := range rules() {
		var ips [][]byte
		plain := true
		for _, p := range c.in {
			plain = plain && !p.partial && p.large == 0
			ips = append(ips, p.ip())
		}
		if !plain {
			continue // no frame of an Ethernet
		}
		t.Run(c.name, func(t *testing.T) {
			k.tb = t
			want := slices.Sorted(slices.Values(c.kernel))
			if kernel, our, ok := k.agrees(ips, want); !ok {
				t.Errorf("kernel %v, want %v\n%v\nours\n%v", counts(kernel), want, kernel, our)
			}
		})
	}
}

// TestIntegrationKernelGRORandom does the same with traces of several flows
// that are disturbed here and there.
func TestIntegrationKernelGRORandom(t *testing.T) {
	k := newKernelGRO(t)
	rng := rand.New(rand.NewPCG(5, 6))
	failed, merged := 0, 0
	const traces = 60
	for n := range traces {
		ips := trace(rng)
		kernel, our, ok := k.agrees(ips, nil)
		if !ok {
			failed++
			t.Logf("trace %d of %d packets: kernel %d, ours %d packets\n%v\n%v", n, len(ips), len(kernel), len(our), short(kernel), short(our))
		}
		merged += len(ips) - len(our)
	}
	t.Logf("%d traces, %d packets merged", traces, merged)
	if failed > 0 || merged < traces {
		t.Errorf("%d traces differ; %d packets merged", failed, merged)
	}
}

func short(ws []written) (out []string) {
	for _, w := range ws {
		out = append(out, fmt.Sprintf("%d/%d %x", w.datagrams(), w.size, w.ip[:min(60, len(w.ip))]))
	}
	return out
}

// trace makes packets of three flows of TCP and one of UDP each by IPv4 and
// IPv6, that continue but for one thing or another.
func trace(rng *rand.Rand) (ips [][]byte) {
	flows := make([]pkt, 5)
	for i := range flows {
		flows[i] = pkt{v6: i&1 != 0, udp: i >= 3, port: uint16(i), seq: rng.Uint32(), id: uint16(rng.Uint32()), tos: byte(rng.IntN(4))}
		if !flows[i].udp && rng.IntN(2) == 0 {
			flows[i].opts = []byte{1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8}
		}
	}
	for range 8 + rng.IntN(23) {
		f := &flows[rng.IntN(len(flows))]
		p := *f
		p.data = bytesOf(100+100*int(p.port), byte(len(ips)))
		switch rng.IntN(30) {
		case 0:
			p.flags = []byte{tcpPSH, tcpFIN, 0x40, tcpRST, tcpURG}[rng.IntN(5)]
		case 1:
			p.seq += 10
		case 2:
			p.data = p.data[:1+rng.IntN(99)]
		case 3:
			p.data = append(p.data, 1)
		case 4:
			p.ack++
		case 5:
			p.win = 7
		case 6:
			p.ttl = 9
		case 7:
			p.tos ^= 1
		case 8:
			p.id += 5
		case 9:
			p.badCsum = !p.udp
		case 10:
			if !p.udp {
				p.data = nil
			}
		case 11:
			p.noDF = true
		}
		f.seq, f.id = p.seq+uint32(len(p.data)), p.id+1
		ips = append(ips, p.ip())
	}
	return ips
}
