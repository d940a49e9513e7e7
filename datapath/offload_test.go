package datapath

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/datapath/encap"
	"ipoib/datapath/tun"
	"ipoib/datapath/tun/tuntest"
	"ipoib/rdma"
	"ipoib/rdma/inet"
	"ipoib/rdma/offload"
	"ipoib/rdma/soft"
)

// tcp builds a TCP segment with n octets of payload and a complete checksum.
func tcp(src, dst netip.Addr, seq uint32, id uint16, n int) []byte {
	var ip []byte
	if src.Is4() {
		ip = make([]byte, 40+n)
		ip[0], ip[6], ip[8], ip[9] = 0x45, 0x40, 64, 6
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		binary.BigEndian.PutUint16(ip[4:], id)
		copy(ip[12:], src.AsSlice())
		copy(ip[16:], dst.AsSlice())
		binary.BigEndian.PutUint16(ip[10:], inet.Checksum(ip[:20], 0))
	} else {
		ip = make([]byte, 60+n)
		ip[0], ip[6], ip[7] = 0x60, 6, 64
		binary.BigEndian.PutUint16(ip[4:], uint16(20+n))
		copy(ip[8:], src.AsSlice())
		copy(ip[24:], dst.AsSlice())
	}
	t := ip[len(ip)-20-n:]
	binary.BigEndian.PutUint16(t, 1234)
	binary.BigEndian.PutUint16(t[2:], 5201)
	binary.BigEndian.PutUint32(t[4:], seq)
	t[12], t[13] = 5<<4, 0x10
	for i := range n {
		t[20+i] = byte(i * 3)
	}
	binary.BigEndian.PutUint16(t[16:], inet.Checksum(t, inet.Pseudo(src.AsSlice(), dst.AsSlice(), 6, len(t))))
	return ip
}

// open makes the checksum of a TCP or UDP packet a partial one and, when size
// is not 0, the packet a large one of segments of that size.
func open(ip []byte, size int) ([]byte, rdma.Offload) {
	msg := append(make([]byte, 4), ip...)
	o := offload.Partial(msg)
	if size > 0 {
		o.Segment, o.SegmentSize, o.HeaderLen = rdma.SegmentTCP4, uint16(size), o.CsumStart+20
		if ip[0]>>4 == 6 {
			o.Segment = rdma.SegmentTCP6
		}
	}
	return msg[4:], o
}

// work returns one of the counters of Works.
func (h *host) work(w Work) uint64 { return h.ib0.WorkCounts()[w] }

// want checks counters.
func (h *host) want(counts map[Work]uint64) {
	h.w.t.Helper()
	for w, n := range counts {
		if got := h.work(w); got != n {
			h.w.t.Errorf("host %d: %v is %d, want %d", h.n, w, got, n)
		}
	}
}

// feature switches features of ib0.
func (h *host) feature(on bool, fs ...Feature) {
	h.w.t.Helper()
	var mask, value FeatureSet
	for _, f := range fs {
		mask |= f.Set()
	}
	if on {
		value = mask
	}
	if err := h.ib0.SetFeatures(value, mask, nil); err != nil {
		h.w.t.Fatal(err)
	}
}

// pair runs a test with two hosts that know each other.
func pair(t *testing.T, profile soft.Profile, fn func(w *world, a, b *host)) {
	t.Helper()
	inWorld(t, worldConfig{hosts: 2, hca: func(c *soft.HCAConfig) { c.Profile = profile }}, func(w *world) {
		w.upAll()
		a, b := w.host(1), w.host(2)
		if !reach(a, b, a.ib0, b.ib0, a.ip(), b.ip()) || !reach(a, b, a.ib0, b.ib0, a.ip6(), b.ip6()) {
			t.Fatal("the hosts do not reach each other")
		}
		w.settle()
		for _, h := range w.hosts {
			h.got(h.ib0)
			for k := range h.ib0.stats.work {
				h.ib0.stats.work[k].Store(0)
			}
		}
		fn(w, a, b)
	})
}

// ip6 is the address that up gives besides ip.
func (h *host) ip6() netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(h.n)})
}

// large sends a TCP packet of n octets of payload as one large send, by IPv4
// or IPv6, and returns the segments that it stands for.
func (h *host) large(to *host, v6 bool, n, size int) (segments [][]byte) {
	h.w.t.Helper()
	src, dst := h.ip(), to.ip()
	if v6 {
		src, dst = h.ip6(), to.ip6()
	}
	ip := tcp(src, dst, 77, 5, n)
	p, o := open(ip, size)
	if err := h.tun(h.ib0).Send(p, o); err != nil {
		h.w.t.Fatal(err)
	}
	for at := 0; at < n; at += size {
		seg := tcp(src, dst, 77+uint32(at), 5+uint16(at/size), min(size, n-at))
		data := len(seg) - min(size, n-at)
		copy(seg[data:], ip[len(ip)-n+at:])
		t := seg[data-20:]
		t[16], t[17] = 0, 0
		binary.BigEndian.PutUint16(t[16:], inet.Checksum(t, inet.Pseudo(src.AsSlice(), dst.AsSlice(), 6, len(t))))
		segments = append(segments, seg)
	}
	h.w.settle()
	return segments
}

// payloads returns the IP packets of frames.
func payloads(frames []frame) (out [][]byte) {
	for _, f := range ipoib(frames) {
		out = append(out, f.Payload[encap.HeaderLen:])
	}
	return out
}

func equal(a, b [][]byte) bool { return slices.EqualFunc(a, b, slices.Equal) }

// A large send leaves as one work request, is segments with complete checksums
// on the wire, and arrives as one packet.
func TestLargeSend(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		pair(t, soft.ProfileFull, func(w *world, a, b *host) {
			frames := a.tap()
			want := a.large(b, v6, 5000, 1000)
			if got := payloads(frames(true)); !equal(got, want) {
				t.Errorf("%d frames, want %d; first\n%x\n%x", len(got), len(want), got[0], want[0])
			}
			a.want(map[Work]uint64{TXLargeSends: 1, TXChecksums: 1, TXSoftChecksums: 0, TXSoftSegments: 0})
			b.want(map[Work]uint64{RXEvents: 1, RXAggregates: 1, RXWrites: 1, RXChecksumGood: 5})
			got := b.tun(b.ib0).Drain()
			if len(got) != 1 || got[0].Offload.SegmentSize != 1000 || got[0].Offload.Segment == 0 {
				t.Errorf("the host got %d packets", len(got))
			}
			if s := b.ib0.Stats(); s.RxPackets < 5 {
				t.Errorf("%d packets received", s.RxPackets)
			}
		})
	}
}

// With LRO and GRO off every datagram is written alone; either of them, or
// neither rx, decides.
func TestEveryDatagramAlone(t *testing.T) {
	for _, c := range []struct {
		name        string
		on, off     []Feature
		writes      int
		aggregates  uint64
		partial     bool
		checksumsOK uint64
	}{
		{"default", nil, nil, 1, 1, true, 5},
		{"gro off", nil, []Feature{FeatureGRO}, 5, 0, true, 5},
		{"lro on, gro off", []Feature{FeatureLRO}, []Feature{FeatureGRO}, 1, 1, true, 5},
		{"rx off", nil, []Feature{FeatureRXCsum}, 1, 0, true, 0},
		{"rx off, gro off", nil, []Feature{FeatureRXCsum, FeatureGRO}, 5, 0, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			pair(t, soft.ProfileFull, func(w *world, a, b *host) {
				b.feature(true, c.on...)
				b.feature(false, c.off...)
				want := a.large(b, false, 5000, 1000)
				b.want(map[Work]uint64{RXAggregates: c.aggregates, RXWrites: uint64(c.writes), RXChecksumGood: c.checksumsOK, RXChecksumBad: 0})
				got := b.tun(b.ib0).Drain()
				if len(got) != c.writes {
					t.Fatalf("%d packets written, want %d", len(got), c.writes)
				}
				for i, p := range got {
					if p.Offload.Checksum != c.partial {
						t.Errorf("offload %+v", p.Offload)
					}
					if c.writes == len(want) {
						msg := append(make([]byte, 4), p.IP...)
						offload.Finish(msg, p.Offload)
						if !slices.Equal(msg[4:], want[i]) {
							t.Errorf("packet %d differs", i)
						}
					}
				}
			})
		})
	}
}

// With tso off the host is not offered large sends, and one that was under way
// is cut before it is posted.
func TestTSOOff(t *testing.T) {
	pair(t, soft.ProfileFull, func(w *world, a, b *host) {
		a.feature(false, FeatureTSO)
		p, o := open(tcp(a.ip(), b.ip(), 1, 1, 5000), 1000)
		if err := a.tun(a.ib0).Send(p, o); !errors.Is(err, tuntest.ErrOffload) {
			t.Fatalf("large send: %v", err)
		}
		frames := a.tap()
		b.feature(false, FeatureGRO)
		a.batch(p, o)
		a.want(map[Work]uint64{TXLargeSends: 0, TXSoftSegments: 5, TXChecksums: 5})
		b.want(map[Work]uint64{RXAggregates: 0, RXWrites: 5})
		if n := len(ipoib(frames(true))); n != 5 {
			t.Errorf("%d frames", n)
		}
		// IPv6 has its own switch.
		a.large(b, true, 3000, 1000)
		a.want(map[Work]uint64{TXLargeSends: 1})
	})
}

// batch gives packets to the transmitter as one batch.
func (h *host) batch(ip []byte, o rdma.Offload) {
	h.w.t.Helper()
	t := &transmitter{i: h.ib0, cache: make(map[netip.Addr]dest)}
	buf := h.ib0.pd.Buffers().Get(4 + len(ip))
	copy(buf.Bytes()[4:], ip)
	t.batch([]tun.Packet{{Buf: buf, Offload: o}})
	synctest.Wait()
}

// Checksums are left to the adapter, or complete when they are posted; on the
// wire they are complete either way.
func TestChecksumOffload(t *testing.T) {
	for _, c := range []struct {
		name       string
		profile    soft.Profile
		off        []Feature
		v6         bool
		left, soft uint64
	}{
		{"IPv4", soft.ProfileFull, nil, false, 1, 0},
		{"IPv6", soft.ProfileFull, nil, true, 1, 0},
		{"IPv4 off", soft.ProfileFull, []Feature{FeatureIPCsum}, false, 0, 1},
		{"IPv6, IPv4 off", soft.ProfileFull, []Feature{FeatureIPCsum}, true, 1, 0},
		{"IPv6 off", soft.ProfileFull, []Feature{FeatureIPv6Csum}, true, 0, 1},
		{"generic, IPv4", soft.ProfileGeneric, nil, false, 1, 0},
		{"generic, IPv6", soft.ProfileGeneric, nil, true, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			pair(t, c.profile, func(w *world, a, b *host) {
				a.feature(false, c.off...)
				frames := a.tap()
				src, dst := a.ip(), b.ip()
				if c.v6 {
					src, dst = a.ip6(), b.ip6()
				}
				whole := tcp(src, dst, 9, 9, 99)
				p, o := open(whole, 0)
				if err := a.tun(a.ib0).Send(p, o); err != nil {
					t.Fatal(err)
				}
				w.settle()
				a.want(map[Work]uint64{TXChecksums: c.left, TXSoftChecksums: c.soft})
				if got := payloads(frames(true)); len(got) != 1 || !slices.Equal(got[0], whole) {
					t.Errorf("frames %x", got)
				}
				// The receiver of the generic profile cannot verify IPv6.
				good := c.profile == soft.ProfileFull || !c.v6
				got := b.tun(b.ib0).Drain()
				if len(got) != 1 || got[0].Offload.Checksum != good {
					t.Fatalf("received %+v", got)
				}
			})
		})
	}
}

// With everything off the host is offered nothing.
func TestTUNOffersFollowFeatures(t *testing.T) {
	pair(t, soft.ProfileFull, func(w *world, a, b *host) {
		a.feature(false, FeatureIPCsum, FeatureIPv6Csum)
		p, o := open(tcp(a.ip(), b.ip(), 1, 1, 9), 0)
		if err := a.tun(a.ib0).Send(p, o); !errors.Is(err, tuntest.ErrOffload) {
			t.Errorf("open checksum: %v", err)
		}
	})
}

// A wrong checksum is delivered as it came, and counted.
func TestWrongChecksum(t *testing.T) {
	pair(t, soft.ProfileFull, func(w *world, a, b *host) {
		bad := tcp(a.ip(), b.ip(), 1, 1, 50)
		bad[len(bad)-1]++
		badIP := tcp(a.ip(), b.ip(), 1, 1, 50)
		badIP[10]++
		for _, p := range [][]byte{bad, badIP} {
			a.send(a.ib0, p)
			got := b.tun(b.ib0).Drain()
			if len(got) != 1 || got[0].Offload != (rdma.Offload{}) || !slices.Equal(got[0].IP, p) {
				t.Errorf("received %+v", got)
			}
		}
		// Nothing to verify, nothing is wrong.
		a.send(a.ib0, ip4(a.ip(), b.ip(), 20)) // UDP without a checksum
		frag := tcp(a.ip(), b.ip(), 1, 1, 50)
		frag[6] = 0x20
		a.send(a.ib0, frag)
		b.want(map[Work]uint64{RXChecksumBad: 2, RXChecksumGood: 0, RXWrites: 4})
		b.got(b.ib0)
		b.feature(false, FeatureRXCsum)
		a.send(a.ib0, bad)
		b.want(map[Work]uint64{RXChecksumBad: 2})
		if got := b.got(b.ib0); len(got) != 1 || !slices.Equal(got[0], bad) {
			t.Errorf("received %x", got)
		}
	})
}

// stream sends n segments of a flow, plain, in a batch for the receiver.
func (h *host) stream(to *host, udp bool, n int) {
	h.w.t.Helper()
	us := uint32(100)
	if err := to.ib0.SetCoalesce(&us, nil); err != nil {
		h.w.t.Fatal(err)
	}
	for i := range n {
		p := tcp(h.ip(), to.ip(), uint32(i*500), uint16(i), 500)
		if udp {
			p = ip6(h.ip6(), to.ip6(), 500)
			t := p[40:]
			binary.BigEndian.PutUint16(t[6:], inet.Checksum(t, inet.Pseudo(p[8:24], p[24:40], 17, len(t))))
		}
		h.send(h.ib0, p)
	}
	h.w.settle()
}

// Segments that arrive as such are merged as the features say.
func TestMerging(t *testing.T) {
	for _, c := range []struct {
		name     string
		lro, gro bool
		uso      bool
		tcp, udp int // writes for 8 datagrams
	}{
		{"gro", false, true, true, 1, 1},
		{"gro, no large UDP", false, true, false, 1, 8},
		{"lro", true, false, true, 1, 8},
		{"off", false, false, true, 8, 8},
	} {
		for _, udp := range []bool{false, true} {
			pair(t, soft.ProfileFull, func(w *world, a, b *host) {
				if !c.uso {
					b.tun(b.ib0).SetAccepts(tun.FeatureCsum | tun.FeatureTSO4 | tun.FeatureTSO6 | tun.FeatureTSOECN)
				}
				b.feature(c.lro, FeatureLRO)
				b.feature(!c.gro, FeatureGRO) // so that it changes
				b.feature(c.gro, FeatureGRO)
				a.stream(b, udp, 8)
				want := c.tcp
				if udp {
					want = c.udp
				}
				got := b.tun(b.ib0).Drain()
				if len(got) != want {
					t.Fatalf("%s, UDP %v: %d packets written, want %d", c.name, udp, len(got), want)
				}
				b.want(map[Work]uint64{RXMerged: uint64(8 - want), RXWrites: uint64(want), RXEvents: 1, RXChecksumGood: 8})
				if o := got[0].Offload; want == 1 && (o.SegmentSize != 500 || o.Segments(4+len(got[0].IP)) != 8) {
					t.Errorf("%s: offload %+v", c.name, o)
				}
			})
		}
	}
}

// Completion events are held back until the time or the count is reached.
func TestModeration(t *testing.T) {
	pair(t, soft.ProfileFull, func(w *world, a, b *host) {
		set := func(usecs, frames uint32) {
			t.Helper()
			if err := b.ib0.SetCoalesce(&usecs, &frames); err != nil {
				t.Fatal(err)
			}
		}
		send := func(n int) {
			for range n {
				a.send(a.ib0, ip4(a.ip(), b.ip(), 20))
			}
		}
		events := uint64(0)
		step := func(what string, d time.Duration, arrived, woken int) {
			t.Helper()
			time.Sleep(d)
			if n := len(b.got(b.ib0)); n != arrived {
				t.Errorf("%s: %d packets arrived, want %d", what, n, arrived)
			}
			events += uint64(woken)
			if got := b.work(RXEvents); got != events {
				t.Errorf("%s: %d events, want %d", what, got, events)
			}
		}
		send(3)
		step("at once", 0, 3, 3)
		set(100, 0)
		send(3)
		step("within the time", 99*time.Microsecond, 0, 0)
		step("at the time", time.Microsecond, 3, 1)
		set(65535, 4)
		send(3)
		step("below the count", 60*time.Millisecond, 0, 0)
		send(1)
		step("at the count", 0, 4, 1)
		send(2)
		step("after the time", 65535*time.Microsecond, 2, 1)
		set(65535, 65535)
		send(2)
		set(0, 0) // what waits comes at once
		step("switched off", 0, 2, 1)
		set(0, 50) // a count alone does not hold the last ones for ever
		send(2)
		step("count alone", 0, 2, 2)
	})
}
