package lro

import (
	"math/rand/v2"
	"testing"

	"ipoib/datapath/tun"
	"ipoib/rdma/offload"
)

// source gives the choices that make a batch, from the octets of a fuzzer.
type source struct{ b []byte }

func (s *source) next() int {
	if len(s.b) == 0 {
		return 0
	}
	v := s.b[0]
	s.b = s.b[1:]
	return int(v)
}

// batch makes packets of a few flows that mostly continue, with one thing or
// another changed in some of them.
func batch(s *source) (out []tun.Packet) {
	type state struct {
		seq uint32
		id  uint16
	}
	var flows [6]state
	for len(s.b) > 0 && len(out) < 80 {
		k := s.next()
		f := &flows[k%len(flows)]
		p := pkt{
			v6: k&1 != 0, udp: k&2 != 0, port: uint16(k % len(flows)),
			seq: f.seq, id: f.id, data: bytesOf(100, byte(len(out))), partial: k&8 != 0,
		}
		switch s.next() % 24 {
		case 0:
			p.flags = byte(s.next())
		case 1:
			p.seq += uint32(int8(s.next()))
		case 2:
			p.id += uint16(s.next())
		case 3:
			p.data = p.data[:s.next()%100]
		case 4:
			p.data = bytesOf(s.next()*8, 3)
		case 5:
			p.opts = make([]byte, s.next()%10*4)
		case 6:
			p.win, p.ack = uint16(s.next()), uint32(s.next())
		case 7:
			p.tos, p.ttl = byte(s.next()), byte(s.next())
		case 8:
			p.frag = uint16(s.next()) << 8
		case 9:
			p.pad = s.next() % 8
		case 10:
			p.badCsum, p.partial = true, false
		case 11:
			p.noCsum, p.partial = true, false
		case 12:
			p.ipOpts = true
		case 13:
			p.large = 100
			p.data = bytesOf(101+s.next()*2, 1)
		case 14:
			// Some octet of the packet is another, the checksums stay.
			ip := p.ip()
			ip[s.next()%len(ip)] ^= byte(s.next())
			out = append(out, raw(ip))
			continue
		case 15:
			ip := p.ip()
			out = append(out, raw(ip[:s.next()%len(ip)]))
			continue
		case 16:
			n := min(s.next(), len(s.b))
			out = append(out, raw(s.b[:n]))
			s.b = s.b[n:]
			continue
		}
		if p.v6 && p.frag != 0 {
			p.nextHeader = 44
		}
		q := p.packet()
		if !offload.Valid(q.Buf.Bytes(), q.Offload) {
			q.Offload.Segment = 0 // no large one came of it
		}
		out = append(out, q)
		f.seq = p.seq + uint32(len(p.data))
		f.id = p.id + uint16(q.Offload.Segments(q.Len()))
	}
	return out
}

// FuzzMerge cuts what was merged of any batch, and wants back what went in.
func FuzzMerge(f *testing.F) {
	f.Add([]byte{0, 0, 0, 20, 0, 20, 0, 20, 1, 20, 1, 20, 2, 20, 2, 20})
	f.Add([]byte{0, 20, 0, 3, 40, 0, 20, 3, 20, 3, 13, 4, 7, 3, 20, 2, 8, 32})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, k := range []Kinds{both, {TCP: true}} {
			mergePackets(t, batch(&source{b}), k)
		}
	})
}

// TestProperty is the same for batches of a fixed seed.
func TestProperty(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	merged := 0
	for range 3000 {
		b := make([]byte, rng.IntN(160))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		if rng.IntN(2) == 0 { // few flows, few changes
			for i := range b {
				b[i] = []byte{byte(i) & 2, 17 + b[i]%7}[i%2]
			}
		}
		_, counts := mergePackets(t, batch(&source{b}), both)
		for _, n := range counts {
			merged += n - 1
		}
	}
	if merged < 10000 {
		t.Errorf("only %d packets were merged", merged)
	}
}
