package lro

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"ipoib/datapath/tun"
	"ipoib/rdma"
	"ipoib/rdma/offload"
)

var both = Kinds{TCP: true, UDP: true}

// follow returns n packets of a flow, each with size octets, that continue
// first.
func follow(first pkt, n, size int) []pkt {
	var out []pkt
	for i := range n {
		p := first
		p.data = bytesOf(size, byte(i))
		p.seq += uint32(i * size)
		p.id += uint16(i)
		out = append(out, p)
	}
	return out
}

// edit returns the packets with one changed.
func edit(ps []pkt, i int, fn func(*pkt)) []pkt {
	ps = slices.Clone(ps)
	fn(&ps[i])
	return ps
}

// rule is a line for one rule of the kernel's GRO.
type rule struct {
	name string
	in   []pkt
	// want is how many packets each written one stands for; kernel is what
	// some kernels make of it.
	want, kernel []int
}

func rules() []rule {
	ts := []byte{1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8}
	ts2 := []byte{1, 1, 8, 10, 0, 0, 0, 10, 0, 0, 0, 8}
	v4, v6 := follow(pkt{}, 4, 100), follow(pkt{v6: true}, 4, 100)
	udp, udp6 := follow(pkt{udp: true}, 4, 100), follow(pkt{udp: true, v6: true}, 4, 100)
	small := func(p *pkt) { p.data = p.data[:40] }
	return []rule{
		{"TCP over IPv4", v4, []int{4}, nil},
		{"TCP over IPv6", v6, []int{4}, nil},
		{"one packet", v4[:1], []int{1}, nil},
		{"no checksum left open", follow(pkt{partial: true}, 4, 100), []int{4}, nil},
		{"same timestamps", follow(pkt{opts: ts}, 4, 100), []int{4}, nil},
		{"other timestamps", edit(follow(pkt{opts: ts}, 4, 100), 2, func(p *pkt) { p.opts = ts2 }), []int{2, 1, 1}, nil},
		{"other option length", edit(v4, 2, func(p *pkt) { p.opts = []byte{1, 1, 1, 1} }), []int{2, 1, 1}, nil},
		{"PSH ends", edit(v4, 1, func(p *pkt) { p.flags = tcpPSH }), []int{2, 2}, nil},
		{"PSH first", edit(v4, 0, func(p *pkt) { p.flags = tcpPSH }), []int{1, 3}, nil},
		{"FIN ends", edit(v4, 3, func(p *pkt) { p.flags = tcpFIN | tcpPSH }), []int{4}, nil},
		{"SYN", edit(v4, 1, func(p *pkt) { p.flags = tcpSYN }), []int{1, 1, 2}, nil},
		{"RST", edit(v4, 1, func(p *pkt) { p.flags = tcpRST }), []int{1, 1, 2}, nil},
		{"URG", edit(v4, 1, func(p *pkt) { p.flags = tcpURG }), []int{1, 1, 2}, nil},
		{"ECE", edit(v4, 1, func(p *pkt) { p.flags = 0x40 }), []int{1, 1, 2}, nil},
		{"all ECE", follow(pkt{flags: 0x40}, 4, 100), []int{4}, nil},
		{"CWR first", edit(v4, 0, func(p *pkt) { p.flags = tcpCWR }), []int{1, 3}, []int{4}},
		{"CWR later", edit(v4, 1, func(p *pkt) { p.flags = tcpCWR }), []int{1, 1, 2}, []int{1, 3}},
		{"ECN capable", follow(pkt{tos: 2}, 4, 100), []int{4}, nil},
		{"congestion experienced", edit(follow(pkt{tos: 2}, 4, 100), 2, func(p *pkt) { p.tos = 3 }), []int{2, 1, 1}, nil},
		{"congestion experienced, IPv6", edit(follow(pkt{v6: true, tos: 2}, 4, 100), 2, func(p *pkt) { p.tos = 3 }), []int{2, 1, 1}, nil},
		{"out of order", []pkt{v4[0], v4[2], v4[1], v4[3]}, []int{1, 1, 1, 1}, nil},
		{"lost", []pkt{v4[0], v4[1], v4[3]}, []int{2, 1}, nil},
		{"repeated", []pkt{v4[0], v4[1], v4[1], v4[2]}, []int{2, 2}, nil},
		{"acknowledgement moved", edit(v4, 2, func(p *pkt) { p.ack = 1 }), []int{2, 1, 1}, nil},
		{"window moved", edit(v4, 2, func(p *pkt) { p.win = 501 }), []int{2, 1, 1}, nil},
		{"small last", edit(v4, 3, small), []int{4}, nil},
		{"small in between", edit(v4, 1, small), []int{2, 2}, nil},
		{"larger", edit(v4, 2, func(p *pkt) { p.data = bytesOf(101, 9) }), []int{2, 1, 1}, nil},
		{"empty", edit(v4, 1, func(p *pkt) { p.data = nil }), []int{1, 1, 2}, nil},
		{"only empty", follow(pkt{}, 3, 0), []int{1, 1, 1}, nil},
		{"wrong checksum", edit(v4, 1, func(p *pkt) { p.badCsum = true }), []int{1, 1, 2}, nil},
		{"wrong checksum first", edit(v4, 0, func(p *pkt) { p.badCsum = true }), []int{1, 3}, nil},
		{"wrong IP checksum", edit(v4, 1, func(p *pkt) { p.badIPCsum = true }), []int{1, 1, 2}, nil},
		{"wrong IP checksum, partial", edit(follow(pkt{partial: true}, 3, 9), 0, func(p *pkt) { p.badIPCsum = true }), []int{1, 2}, nil},
		{"TTL", edit(v4, 2, func(p *pkt) { p.ttl = 63 }), []int{2, 1, 1}, nil},
		{"hop limit", edit(v6, 2, func(p *pkt) { p.ttl = 63 }), []int{2, 1, 1}, nil},
		{"flow label", edit(v6, 2, func(p *pkt) { p.label = 1 }), []int{2, 1, 1}, nil},
		{"DF", edit(v4, 2, func(p *pkt) { p.noDF = true }), []int{2, 1, 1}, nil},
		{"no DF", follow(pkt{noDF: true}, 4, 100), []int{4}, nil},
		{"identification jumps", edit(v4, 2, func(p *pkt) { p.id = 77 }), []int{2, 1, 1}, nil},
		{"fixed identification", edit(edit(v4, 1, func(p *pkt) { p.id = 0 }), 2, func(p *pkt) { p.id = 0 }), []int{1, 1, 1, 1}, []int{3, 1}},
		{"identification wraps", follow(pkt{id: 0xfffe}, 4, 100), []int{4}, nil},
		{"sequence wraps", follow(pkt{seq: 0xffffff9c}, 4, 100), []int{4}, nil},
		{"fragment", edit(v4, 1, func(p *pkt) { p.frag = 0x2000 }), []int{1, 1, 2}, nil},
		{"reserved flag", edit(v4, 1, func(p *pkt) { p.frag = 0xc000 }), []int{1, 1, 2}, nil},
		{"IP options", edit(v4, 1, func(p *pkt) { p.ipOpts = true }), []int{1, 1, 2}, nil},
		{"padding", edit(v4, 1, func(p *pkt) { p.pad = 3 }), []int{1, 1, 2}, nil},
		{"extension header", edit(v6, 1, func(p *pkt) { p.nextHeader = 60 }), []int{1, 1, 2}, nil},
		{"two flows", []pkt{v4[0], v6[0], v4[1], v6[1], v4[2], v6[2]}, []int{3, 3}, nil},
		{"two ports", append(slices.Clone(v4), follow(pkt{port: 1}, 2, 100)...), []int{4, 2}, nil},
		{"large and the next", append([]pkt{{data: bytesOf(300, 0), large: 100}}, follow(pkt{seq: 300, id: 3, partial: true}, 2, 100)...), []int{5}, nil},
		{"two large", []pkt{{data: bytesOf(300, 0), large: 100}, {seq: 300, id: 3, data: bytesOf(290, 1), large: 100}, {seq: 590, id: 6, data: bytesOf(9, 1)}}, []int{6, 1}, nil},
		{"large of another size", []pkt{{data: bytesOf(300, 0), large: 100}, {seq: 300, id: 3, data: bytesOf(300, 1), large: 150}}, []int{3, 2}, nil},
		{"UDP over IPv4", udp, []int{4}, nil},
		{"UDP over IPv6", udp6, []int{4}, nil},
		{"UDP, fixed identification", follow(pkt{udp: true, v6: true}, 4, 1), []int{4}, nil},
		{"UDP, small last", edit(udp, 2, small), []int{3, 1}, nil},
		{"UDP, larger", edit(udp, 2, func(p *pkt) { p.data = bytesOf(101, 9) }), []int{2, 2}, nil},
		{"UDP without checksum", edit(udp, 1, func(p *pkt) { p.noCsum = true }), []int{1, 1, 2}, nil},
		{"UDP, empty", edit(udp, 1, func(p *pkt) { p.data = nil }), []int{1, 1, 2}, nil},
		{"UDP, many", follow(pkt{udp: true}, 70, 1), []int{64, 6}, nil},
		{"nothing over 65535", follow(pkt{}, 50, 2000), []int{32, 18}, nil},
	}
}

func TestRules(t *testing.T) {
	for _, c := range rules() {
		t.Run(c.name, func(t *testing.T) {
			_, got := merge(t, c.in, both)
			if !slices.Equal(got, c.want) {
				t.Errorf("written packets stand for %v, want %v", got, c.want)
			}
		})
	}
}

// merge merges packets, checks that cutting what comes out gives what went in,
// and returns how many packets each of the written ones stands for.
func merge(tb testing.TB, in []pkt, k Kinds) (out [][][]byte, counts []int) {
	tb.Helper()
	var pkts []tun.Packet
	for _, p := range in {
		pkts = append(pkts, p.packet())
	}
	return mergePackets(tb, pkts, k)
}

func mergePackets(tb testing.TB, pkts []tun.Packet, k Kinds) (out [][][]byte, counts []int) {
	tb.Helper()
	var want, got [][]byte
	for _, p := range pkts {
		want = append(want, cut(p)...)
	}
	var m Merger
	for _, p := range m.Merge(pkts, k) {
		if !offload.Valid(flat(p), p.Offload) {
			tb.Fatalf("offload %+v does not fit its packet", p.Offload)
		}
		if n := p.Len() - 4; n > maxLen && p.Parts != nil || len(p.Parts) > tun.MaxParts {
			tb.Fatalf("%d octets in %d parts", n, len(p.Parts))
		}
		c := cut(p)
		got = append(got, c...)
		out, counts = append(out, c), append(counts, len(c))
		p.Free()
	}
	compare(tb, want, got)
	return out, counts
}

func flat(p tun.Packet) []byte {
	b := slices.Clone(p.Buf.Bytes())
	for _, part := range p.Parts {
		b = append(b, part.Bytes()...)
	}
	return b
}

// compare checks that packets are those that came, octet for octet, and that
// each flow is in order. Only the identification of a UDP datagram that may
// not be fragmented can change: it means nothing (RFC 6864 section 4).
func compare(tb testing.TB, want, got [][]byte) {
	tb.Helper()
	if len(want) != len(got) {
		tb.Fatalf("%d packets became %d", len(want), len(got))
	}
	byFlow := func(all [][]byte) map[string][][]byte {
		m := make(map[string][][]byte)
		for _, ip := range all {
			k := flowKey(ip)
			m[k] = append(m[k], ip)
		}
		return m
	}
	w, g := byFlow(want), byFlow(got)
	for k, list := range w {
		if len(list) != len(g[k]) {
			tb.Fatalf("flow %x: %d packets became %d", k, len(list), len(g[k]))
		}
		for i := range list {
			a, b := list[i], g[k][i]
			if !bytes.Equal(a, b) && !bytes.Equal(atomic(a), atomic(b)) {
				tb.Fatalf("packet %d of flow %x:\nwas %x\nis  %x", i, k, a, b)
			}
		}
	}
}

// atomic clears the identification of a UDP datagram with DF, and what depends
// on it.
func atomic(ip []byte) []byte {
	if len(ip) >= 20 && ip[0] == 0x45 && ip[9] == 17 && ip[6] == 0x40 {
		ip = slices.Clone(ip)
		clear(ip[4:6])
		clear(ip[10:12])
	}
	return ip
}

// flowKey tells flows apart, by what is at the places of addresses and ports.
func flowKey(ip []byte) string {
	switch {
	case len(ip) >= 24 && ip[0] == 0x45:
		return fmt.Sprintf("4%x%x", ip[9], ip[12:24])
	case len(ip) >= 44 && ip[0]>>4 == 6:
		return fmt.Sprintf("6%x%x", ip[6], ip[8:44])
	}
	return "none"
}

// What a Merger may not look at stays alone: without UDP, without anything.
func TestKinds(t *testing.T) {
	in := append(follow(pkt{}, 3, 10), follow(pkt{udp: true}, 3, 10)...)
	in = append(in, follow(pkt{seq: 30, id: 3}, 3, 10)...)
	for k, want := range map[Kinds][]int{
		both: {6, 3}, {TCP: true}: {6, 1, 1, 1}, {UDP: true}: {1, 1, 1, 3, 1, 1, 1}, {}: {1, 1, 1, 1, 1, 1, 1, 1, 1},
	} {
		if _, got := merge(t, in, k); !slices.Equal(got, want) {
			t.Errorf("%+v: %v, want %v", k, got, want)
		}
	}
}

// A packet that cannot be classified is overtaken by none.
func TestBarrier(t *testing.T) {
	in := follow(pkt{udp: true}, 4, 10)
	in[2].frag = 0x2000
	out, counts := merge(t, in, both)
	if !slices.Equal(counts, []int{2, 1, 1}) || !bytes.Equal(out[1][0], in[2].ip()) {
		t.Errorf("%v", counts)
	}
}

// More flows than are followed: the oldest ends, none is lost.
func TestManyFlows(t *testing.T) {
	var in []pkt
	for round := range 3 {
		for f := range 2 * maxFlows {
			p := follow(pkt{port: uint16(f)}, 3, 10)
			in = append(in, p[round])
		}
	}
	merge(t, in, both)
	_, counts := merge(t, in[:0], both)
	if len(counts) != 0 {
		t.Error("packets from nowhere")
	}
}

// The header of a merged packet is what the host needs to cut it again.
func TestHeader(t *testing.T) {
	in := edit(follow(pkt{}, 3, 100), 2, func(p *pkt) { p.flags = tcpFIN })
	var pkts []tun.Packet
	for _, p := range in {
		pkts = append(pkts, p.packet())
	}
	var m Merger
	out := m.Merge(pkts, both)
	want := rdma.Offload{
		Segment: rdma.SegmentTCP4, SegmentSize: 100, HeaderLen: 44,
		Checksum: true, CsumStart: 24, CsumOffset: 16,
	}
	if len(out) != 1 || out[0].Offload != want || out[0].Len() != 4+40+300 {
		t.Fatalf("%+v", out)
	}
	if flags := out[0].Buf.Bytes()[24+tcpFlags]; flags != 0x10|tcpFIN {
		t.Errorf("flags %#x", flags)
	}
	out[0].Free()
}

func TestNoAllocation(t *testing.T) {
	in := append(follow(pkt{}, 16, 1000), follow(pkt{udp: true, v6: true}, 16, 64)...)
	var m Merger
	pkts := make([]tun.Packet, len(in))
	ips := make([][]byte, len(in))
	for i := range in {
		ips[i] = in[i].ip()
	}
	run := func() {
		for i, ip := range ips {
			b := pool.Get(4 + len(ip))
			copy(b.Bytes()[4:], ip)
			pkts[i] = tun.Packet{Buf: b}
		}
		for _, p := range m.Merge(pkts, both) {
			p.Free()
		}
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
}

func BenchmarkMerge(b *testing.B) {
	for name, p := range map[string]pkt{"tcp4": {partial: true}, "tcp6": {partial: true, v6: true}, "udp4": {partial: true, udp: true}, "verify": {}} {
		b.Run(name, func(b *testing.B) {
			in := follow(p, 32, 1000)
			var m Merger
			pkts := make([]tun.Packet, len(in))
			for b.Loop() {
				b.StopTimer()
				for i := range in {
					pkts[i] = in[i].packet()
				}
				b.StartTimer()
				for _, p := range m.Merge(pkts, both) {
					p.Free()
				}
			}
		})
	}
}
