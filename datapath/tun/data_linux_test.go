package tun

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ipoib/datapath/encap"
	"ipoib/datapath/internal/netns/netnstest"
	"ipoib/rdma"
	"ipoib/rdma/inet"
)

// upDevice opens ib0, up, with an address and nothing that speaks on its own.
func upDevice(tb testing.TB, c Config, mtu string) (*netnstest.NS, *device) {
	tb.Helper()
	ns := netnstest.New(tb)
	c.Name = "ib0"
	d := open1(tb, ns, c)
	ns.Run(tb, "ip", "link", "set", "ib0", "mtu", mtu, "addrgenmode", "none")
	ns.Run(tb, "ip", "addr", "add", benchA+"/24", "dev", "ib0")
	ns.Run(tb, "ip", "link", "set", "ib0", "up")
	return ns, d
}

// dialUDP returns a socket in the namespace that is connected to benchB.
func dialUDP(tb testing.TB, ns *netnstest.NS) *net.UDPConn {
	tb.Helper()
	var c net.Conn
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_RECVERR, 1) })
	}}
	ns.Do(tb, func() (err error) {
		c, err = d.Dial("udp4", benchB+":9999")
		return err
	})
	tb.Cleanup(func() { c.Close() })
	return c.(*net.UDPConn)
}

// readUDP reads until there are n UDP packets over IPv4, leaving out what the
// host says on its own (IGMP, MLD).
func readUDP(tb testing.TB, d Device, pkts []Packet, n int) []Packet {
	tb.Helper()
	var got []Packet
	for len(got) < n {
		k, err := d.Read(pkts)
		if err != nil {
			tb.Fatal(err)
		}
		for _, p := range pkts[:k] {
			ip, err := encap.ParseIP(p.Buf.Bytes()[encap.HeaderLen:])
			if err != nil {
				tb.Fatal(err)
			}
			if ip.Proto == encap.ProtoUDP {
				got = append(got, p)
			} else {
				p.Buf.Free()
			}
		}
	}
	return got
}

// TestIntegrationReadSizes alternates sizes, so that each packet is small or
// large against what the last one promised.
func TestIntegrationReadSizes(t *testing.T) {
	ns, d := upDevice(t, Config{}, "65520")
	c := dialUDP(t, ns)
	sizes := []int{1, 4000, 4062, 4068, 4069, 4072, 4073, 4100, 65000, 65492, 100, 100, 60000, 60000, 1}
	go func() {
		for _, n := range sizes {
			c.Write(bytes.Repeat([]byte{byte(n)}, n))
		}
	}()
	for i, p := range readUDP(t, d, make([]Packet, 4), len(sizes)) {
		b, n := p.Buf.Bytes(), sizes[i]
		data := b[encap.HeaderLen+28:]
		if len(data) != n || !bytes.Equal(data, bytes.Repeat([]byte{byte(n)}, n)) {
			t.Errorf("packet %d: %d octets of data, want %d", i, len(data), n)
		}
		if p.Offload != (rdma.Offload{}) {
			t.Errorf("packet %d: offload %+v", i, p.Offload)
		}
		if got := inet.Checksum(b[encap.HeaderLen+20:], inet.Pseudo(b[16:20], b[20:24], 17, len(data)+8)); got != 0 {
			t.Errorf("packet %d: checksum %#x", i, got)
		}
		p.Buf.Free()
	}
}

// TestIntegrationReadBatch has packets waiting when Read is called.
func TestIntegrationReadBatch(t *testing.T) {
	ns, d := upDevice(t, Config{BatchBytes: 5000}, "2044")
	c := dialUDP(t, ns)
	for range 20 {
		if _, err := c.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	for total := 0; total < 20; {
		pkts := make([]Packet, 8)
		n, err := d.Read(pkts)
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		for i, p := range pkts[:n] {
			if size >= 5000 {
				t.Errorf("%d octets, and %d packets more", size, n-i)
			}
			size += p.Buf.Len()
			if p.Buf.Len() == encap.HeaderLen+1028 {
				total++
			}
			p.Buf.Free()
		}
		if size < 5000 && total < 20 {
			t.Errorf("batch of %d octets while packets wait", size)
		}
	}
	if n, err := d.Read(nil); n != 0 || err != nil {
		t.Errorf("Read of nothing: %d, %v", n, err)
	}
}

// TestIntegrationChecksum leaves the checksum to the device.
func TestIntegrationChecksum(t *testing.T) {
	ns, d := upDevice(t, Config{Offload: FeatureCsum}, "2044")
	dialUDP(t, ns).Write([]byte("hello"))
	p := readUDP(t, d, make([]Packet, 4), 1)[0]
	want := rdma.Offload{Checksum: true, CsumStart: 24, CsumOffset: 6}
	b := p.Buf.Bytes()
	if p.Offload != want {
		t.Fatalf("offload %+v, want %+v", p.Offload, want)
	}
	// Completing it as the offload says makes a right packet.
	sum := inet.Checksum(b[24:], 0)
	b[30], b[31] = byte(sum>>8), byte(sum)
	if got := inet.Checksum(b[24:], inet.Pseudo(b[16:20], b[20:24], 17, len(b)-24)); got != 0 {
		t.Errorf("checksum %#x after completion", got)
	}
	p.Buf.Free()
}

// TestIntegrationTCP sends data through a pair of devices, with and without
// offloads, and looks at what crosses.
func TestIntegrationTCP(t *testing.T) {
	for _, tc := range []struct {
		name    string
		offload Features
		mtu     int
		reader  string
	}{
		{"plain", 0, 2044, "ring"},
		{"checksum", FeatureCsum, 2044, "ring"},
		{"TSO", FeatureCsum | FeatureTSO4 | FeatureTSO6 | FeatureTSOECN, 2044, "ring"},
		{"TSO, epoll", FeatureCsum | FeatureTSO4 | FeatureTSO6 | FeatureTSOECN, 2044, "epoll"},
		{"TSO, Read", FeatureCsum | FeatureTSO4, 2044, "read"},
		{"connected", FeatureCsum, 65520, "ring"},
		{"connected, epoll", FeatureCsum, 65520, "epoll"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, b := netnstest.New(t), netnstest.New(t)
			c := Config{Name: "ib0", Offload: tc.offload}
			da, db := open1(t, a, c), open1(t, b, c)
			p := readers[tc.reader](t)
			var sizes [2]atomic.Int64 // the largest packet each way
			var segments atomic.Int64
			for i, d := range []struct{ from, to Device }{{da, db}, {db, da}} {
				forward(t, p, d.from, d.to, func(p Packet) {
					sizes[i].Store(max(sizes[i].Load(), int64(p.Buf.Len()-encap.HeaderLen)))
					if p.Offload.Segment != rdma.SegmentNone {
						segments.Add(int64(p.Offload.Segments(p.Buf.Len())))
						if int(p.Offload.SegmentSize)+int(p.Offload.HeaderLen) > tc.mtu+encap.HeaderLen {
							t.Errorf("segments larger than the MTU: %+v", p.Offload)
						}
					}
				})
			}
			addresses(t, a, b, fmt.Sprint(tc.mtu))
			tso := tc.offload&FeatureTSO4 != 0
			// How much TCP sends at a time depends on how fast the other end
			// is: it may take a while until it sends all that it may.
			var largest int64
			for range 50 {
				transfer(t, a, b, 4<<20)
				largest = max(sizes[0].Load(), sizes[1].Load())
				if tso && largest > int64(tc.mtu) || !tso && largest > int64(tc.mtu)*9/10 {
					break
				}
			}
			da.Close()
			db.Close()
			if tso != (segments.Load() > 0) || tso != (largest > int64(tc.mtu)) || largest < int64(tc.mtu)*9/10 {
				t.Errorf("largest packet %d, %d segments", largest, segments.Load())
			}
			for _, d := range []Device{da, db} {
				if got := d.Counters(); got.ReadInvalid != 0 || got.WriteInvalid != 0 || got.WriteBusy != 0 {
					t.Errorf("counters %+v", got)
				}
			}
		})
	}
}

// transfer sends size octets from one namespace to the other over TCP.
func transfer(t *testing.T, from, to *netnstest.NS, size int64) {
	t.Helper()
	var l net.Listener
	to.Do(t, func() (err error) {
		l, err = net.Listen("tcp4", benchB+":0")
		return err
	})
	defer l.Close()
	type result struct {
		sum [sha256.Size]byte
		err error
	}
	done := make(chan result, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			done <- result{err: err}
			return
		}
		defer c.Close()
		h := sha256.New()
		_, err = io.Copy(h, c)
		done <- result{[sha256.Size]byte(h.Sum(nil)), err}
	}()
	var c net.Conn
	from.Do(t, func() (err error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c, err = (&net.Dialer{}).DialContext(ctx, "tcp4", l.Addr().String())
		return err
	})
	c.SetDeadline(time.Now().Add(time.Minute))
	h := sha256.New()
	src := rand.NewChaCha8([32]byte{1})
	if _, err := io.CopyN(io.MultiWriter(h, c), src, size); err != nil {
		t.Fatal(err)
	}
	c.Close()
	r := <-done
	if r.err != nil || r.sum != [sha256.Size]byte(h.Sum(nil)) {
		t.Errorf("data differs (%v)", r.err)
	}
}

// message puts an IP packet in a buffer, behind room for the encapsulation.
func message(pool *rdma.BufferPool, ip []byte) *rdma.Buffer {
	b := pool.Get(encap.HeaderLen + len(ip))
	copy(b.Bytes()[encap.HeaderLen:], ip)
	return b
}

// udp makes a UDP packet from benchB to benchA without checksum.
func udp(port uint16, data []byte) []byte {
	b := make([]byte, 28, 28+len(data))
	copy(b, []byte{0x45, 0, byte((28 + len(data)) >> 8), byte(28 + len(data)), 0, 0, 0, 0, 64, 17})
	src, dst := netip.MustParseAddr(benchB).As4(), netip.MustParseAddr(benchA).As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	sum := inet.Checksum(b[:20], 0)
	b[10], b[11] = byte(sum>>8), byte(sum)
	copy(b[20:], []byte{0x12, 0x34, byte(port >> 8), byte(port), byte((8 + len(data)) >> 8), byte(8 + len(data))})
	return append(b, data...)
}

func TestIntegrationWrite(t *testing.T) {
	pool := rdma.NewBufferPool()
	ns, d := upDevice(t, Config{Pool: pool}, "2044")
	var c *net.UDPConn
	ns.Do(t, func() (err error) {
		c, err = net.ListenUDP("udp4", nil)
		return err
	})
	defer c.Close()
	port := uint16(c.LocalAddr().(*net.UDPAddr).Port)

	good := message(pool, udp(port, []byte("hello")))
	defer good.Free()
	bad := message(pool, []byte{0x55, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19})
	defer bad.Free()
	segments := rdma.Offload{Segment: rdma.SegmentTCP4, SegmentSize: 1}
	pkts := []Packet{{Buf: good}, {Buf: bad}, {Buf: good, Offload: segments}, {Buf: good}}
	if n, err := d.Write(pkts); n != 2 || err != nil {
		t.Errorf("wrote %d, %v", n, err)
	}
	c.SetReadDeadline(time.Now().Add(time.Minute))
	for range 2 {
		b := make([]byte, 100)
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil || string(b[:n]) != "hello" || from.Addr().Unmap().String() != benchB {
			t.Errorf("received %q from %v, %v", b[:n], from, err)
		}
	}
	if got := d.Counters(); got != (Counters{WriteInvalid: 2}) {
		t.Errorf("counters %+v", got)
	}

	ns.Run(t, "ip", "link", "set", "ib0", "down")
	if n, err := d.Write(pkts[:1]); n != 0 || err != nil {
		t.Errorf("down: wrote %d, %v", n, err)
	}
	if got := d.Counters(); got.WriteDown != 1 {
		t.Errorf("counters %+v", got)
	}
	if len(good.Bytes()) != encap.HeaderLen+33 || string(good.Bytes()[32:]) != "hello" {
		t.Errorf("the buffer was changed: % x", good.Bytes())
	}
	ns.Run(t, "ip", "link", "del", "ib0")
	if n, err := d.Write(pkts[:1]); n != 0 || !errors.Is(err, ErrRemoved) {
		t.Errorf("removed: wrote %d, %v", n, err)
	}
}

func TestIntegrationAllocs(t *testing.T) {
	for _, large := range []bool{false, true} {
		t.Run(fmt.Sprintf("large=%v", large), func(t *testing.T) {
			pool := rdma.NewBufferPool()
			ns, d := upDevice(t, Config{Pool: pool, TxQueueLen: 1000}, "65520")
			c := dialUDP(t, ns)
			data := make([]byte, 100)
			if large {
				data = make([]byte, 50000)
			}
			c.SetWriteBuffer(1 << 20)
			pkts := make([]Packet, 1)
			read := func() {
				n, err := d.Read(pkts)
				if n != 1 || err != nil {
					t.Fatal(n, err)
				}
				pkts[0].Buf.Free()
			}
			c.Write(data)
			read()
			if n := testing.AllocsPerRun(100, func() {
				c.Write(data)
				read()
			}); n != 0 {
				t.Errorf("Read: %v allocations a packet", n)
			}
			// Not for this host, and not forwarded: nothing comes back.
			ip := udp(1, data)
			ip[19] = 99
			pkts[0] = Packet{Buf: message(pool, ip)}
			if n := testing.AllocsPerRun(100, func() { d.Write(pkts) }); n != 0 {
				t.Errorf("Write: %v allocations a packet", n)
			}
		})
	}
}

// TestIntegrationHostAccepts gives the host what package encap makes for it.
func TestIntegrationHostAccepts(t *testing.T) {
	pool := rdma.NewBufferPool()
	ns, d := upDevice(t, Config{Pool: pool}, "2044")
	ns.Run(t, "ip", "addr", "add", "fe80::a/64", "dev", "ib0")
	write := func(ip []byte) {
		t.Helper()
		b := message(pool, ip)
		defer b.Free()
		if n, err := d.Write([]Packet{{Buf: b}}); n != 1 || err != nil {
			t.Fatalf("wrote %d, %v", n, err)
		}
	}

	t.Run("router advertisement", func(t *testing.T) {
		ll := encap.UnicastAddr(0, 0x48, rdma.MustParseGID("fe80::2:c903:a0:b0c1"))
		const size = 16 + 32
		ra := make([]byte, 40+size, 128)
		copy(ra, []byte{0x60, 0, 0, 0, 0, size, 58, 255})
		src, dst := netip.MustParseAddr("fe80::99").As16(), netip.MustParseAddr("ff02::1").As16()
		copy(ra[8:], src[:])
		copy(ra[24:], dst[:])
		copy(ra[40:], []byte{134, 0, 0, 0, 64, 0, 7, 8})
		// An on-link prefix: 2001:db8:5::/64, valid for 0x1000 seconds.
		copy(ra[56:], []byte{3, 4, 64, 0x80, 0, 0, 0x10, 0, 0, 0, 0x10, 0})
		prefix := netip.MustParseAddr("2001:db8:5::").As16()
		copy(ra[72:], prefix[:])
		sum := inet.Checksum(ra[40:], inet.Pseudo(ra[8:24], ra[24:40], 58, size))
		ra[42], ra[43] = byte(sum>>8), byte(sum)
		onWire, err := encap.AddLinkLayerOption(ra, ll)
		if err != nil {
			t.Fatal(err)
		}
		routes := func() string { return ns.Run(t, "ip", "-6", "route") }
		const want = "2001:db8:5::/64 dev ib0"
		write(onWire)
		if got := routes(); strings.Contains(got, want) {
			t.Errorf("the host takes the option after all: %s", got)
		}
		bare, err := encap.StripLinkLayerOptions(onWire)
		if err != nil {
			t.Fatal(err)
		}
		write(bare)
		if got := routes(); !strings.Contains(got, want) || !strings.Contains(got, "default via fe80::99 dev ib0") {
			t.Errorf("routes %s", got)
		}
	})

	// sent returns a packet that a socket just sent, and the socket.
	sent := func(n int) ([]byte, *net.UDPConn) {
		t.Helper()
		c := dialUDP(t, ns)
		if _, err := c.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		p := readUDP(t, d, make([]Packet, 1), 1)[0]
		defer p.Buf.Free()
		return bytes.Clone(p.Buf.Bytes()[encap.HeaderLen:]), c
	}
	out := make([]byte, 2048)
	src := netip.MustParseAddr(benchB)
	t.Run("packet too big", func(t *testing.T) {
		ip, _ := sent(2000)
		n, err := encap.PutPacketTooBig(out, ip, src, 1500)
		if err != nil {
			t.Fatal(err)
		}
		write(out[:n])
		if got := ns.Run(t, "ip", "route", "get", benchB); !strings.Contains(got, "mtu 1500") {
			t.Errorf("route %s", got)
		}
	})
	t.Run("host unreachable", func(t *testing.T) {
		ip, c := sent(10)
		n, err := encap.PutHostUnreachable(out, ip, src)
		if err != nil {
			t.Fatal(err)
		}
		write(out[:n])
		c.SetReadDeadline(time.Now().Add(time.Minute))
		_, err = c.Read(make([]byte, 10)) // told because of IP_RECVERR
		if !errors.Is(err, syscall.EHOSTUNREACH) {
			t.Errorf("socket error %v", err)
		}
	})
}
