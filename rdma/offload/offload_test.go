package offload

import (
	"bytes"
	"encoding/binary"
	"testing"

	"ipoib/rdma"
	"ipoib/rdma/inet"
)

// message builds an IPoIB message with a TCP or UDP packet of n octets of data
// and complete checksums.
func message(v6 bool, proto uint8, n int) []byte {
	hdr := tcpMinLen
	if proto == protoUDP {
		hdr = udpLen
	}
	t := make([]byte, hdr+n)
	for i := range n {
		t[hdr+i] = byte(i * 5)
	}
	if proto == protoUDP {
		binary.BigEndian.PutUint16(t[4:], uint16(len(t)))
	} else {
		binary.BigEndian.PutUint32(t[4:], 1000)
		t[12], t[13] = 5<<4, 0x10|tcpFlagPSH|tcpFlagCWR
	}
	var ip []byte
	if v6 {
		ip = make([]byte, ip6Len)
		ip[0], ip[6], ip[7], ip[23], ip[39] = 0x60, proto, 64, 1, 2
		binary.BigEndian.PutUint16(ip[4:], uint16(len(t)))
	} else {
		ip = make([]byte, ip4MinLen)
		ip[0], ip[8], ip[9], ip[15], ip[19] = 0x45, 64, proto, 1, 2
		binary.BigEndian.PutUint16(ip[2:], uint16(ip4MinLen+len(t)))
		binary.BigEndian.PutUint16(ip[10:], inet.Checksum(ip, 0))
	}
	msg := append(append(make([]byte, encapLen), ip...), t...)
	o := Partial(msg)
	Finish(msg, o)
	return msg
}

func TestVerify(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, proto := range []uint8{protoTCP, protoUDP} {
			good := message(v6, proto, 101)
			if Verify(good) != Good || !Checked(good) {
				t.Errorf("v6 %v, protocol %d: not good", v6, proto)
			}
			// Every single octet of the transport part counts, and of the
			// IPv4 header those that do not make it another packet.
			from := encapLen + ip4MinLen
			if v6 {
				from = encapLen + ip6Len
			}
			for i := from; i < len(good); i++ {
				bad := bytes.Clone(good)
				bad[i] ^= 0x11
				if Verify(bad) == Good {
					t.Fatalf("v6 %v, protocol %d: good with another octet %d", v6, proto, i)
				}
			}
			if !v6 {
				bad := bytes.Clone(good)
				bad[encapLen+8]++ // TTL
				if Verify(bad) != Bad {
					t.Error("wrong IPv4 header is not bad")
				}
			}
		}
	}
	none := map[string]func([]byte) []byte{
		"fragment":         func(b []byte) []byte { b[encapLen+6] = 0x20; return b },
		"later fragment":   func(b []byte) []byte { b[encapLen+7] = 1; return b },
		"other protocol":   func(b []byte) []byte { b[encapLen+9] = 1; return b },
		"padding":          func(b []byte) []byte { return append(b, 0) },
		"cut":              func(b []byte) []byte { return b[:len(b)-1] },
		"version":          func(b []byte) []byte { b[encapLen] = 0x55; return b },
		"header length":    func(b []byte) []byte { b[encapLen] = 0x44; return b },
		"UDP without sum":  func(b []byte) []byte { b[30], b[31] = 0, 0; return b },
		"UDP other length": func(b []byte) []byte { b[29]++; return b },
		"short":            func(b []byte) []byte { return b[:10] },
	}
	for name, fn := range none {
		if v := Verify(fn(message(false, protoUDP, 20))); v != None {
			t.Errorf("%s: %v", name, v)
		}
	}
}

// A checksum made partial and completed again is what it was.
func TestPartial(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, proto := range []uint8{protoTCP, protoUDP} {
			for n := range 70 {
				msg := message(v6, proto, n)
				again := bytes.Clone(msg)
				o := Partial(again)
				if !o.Checksum || !Valid(again, o) {
					t.Fatalf("offload %+v", o)
				}
				if Finish(again, o); !bytes.Equal(msg, again) {
					t.Fatalf("v6 %v, protocol %d, %d octets:\n%x\n%x", v6, proto, n, msg, again)
				}
			}
		}
	}
	if Partial(make([]byte, 60)) != (rdma.Offload{}) {
		t.Error("an offload of no packet")
	}
}

// large makes a large send of a message.
func large(msg []byte, size int) rdma.Offload {
	o := Partial(msg)
	v6, udp := msg[encapLen]>>4 == 6, o.CsumOffset == udpCsumOff
	o.Segment, o.SegmentSize, o.HeaderLen = rdma.SegmentTCP4, uint16(size), o.CsumStart+tcpMinLen
	if udp {
		o.Segment, o.HeaderLen = rdma.SegmentUDP4, o.CsumStart+udpLen
	}
	if v6 {
		o.Segment++
	}
	return o
}

// Segments carry all data once, in order, with right headers and checksums.
func TestSegment(t *testing.T) {
	pool := rdma.NewBufferPool()
	for _, v6 := range []bool{false, true} {
		for _, proto := range []uint8{protoTCP, protoUDP} {
			msg := message(v6, proto, 1050)
			want := bytes.Clone(msg)
			o := large(msg, 200)
			src := pool.Get(len(msg))
			copy(src.Bytes(), msg)
			if !Valid(msg, o) || o.Segments(len(msg)) != 6 {
				t.Fatalf("offload %+v", o)
			}
			var data []byte
			for i := range 6 {
				for _, complete := range []bool{false, true} {
					seg, rest := Segment(src, o, i, complete)
					if complete != (rest == rdma.Offload{}) {
						t.Errorf("rest %+v", rest)
					}
					Finish(seg.Bytes(), rest)
					if Verify(seg.Bytes()) != Good {
						t.Errorf("v6 %v, protocol %d: segment %d is not good", v6, proto, i)
					}
					b := seg.Bytes()
					if proto == protoTCP {
						f := b[o.CsumStart+13]
						if seq := binary.BigEndian.Uint32(b[o.CsumStart+4:]); seq != 1000+uint32(200*i) {
							t.Errorf("segment %d has sequence number %d", i, seq)
						}
						if f&tcpFlagPSH != 0 != (i == 5) || f&tcpFlagCWR != 0 != (i == 0) {
							t.Errorf("segment %d has flags %#x", i, f)
						}
					}
					if complete {
						data = append(data, b[o.HeaderLen:]...)
					}
					seg.Free()
				}
			}
			if !bytes.Equal(data, want[o.HeaderLen:]) {
				t.Error("the data are others")
			}
			src.Free()
		}
	}
}

// FuzzOffload: what is Valid can be cut and completed, whatever it is; what is
// Good stays so when it is made partial and completed.
func FuzzOffload(f *testing.F) {
	for _, v6 := range []bool{false, true} {
		for _, proto := range []uint8{protoTCP, protoUDP} {
			msg := message(v6, proto, 300)
			f.Add(bytes.Clone(msg), uint8(0), uint16(0), uint16(0), uint16(0), uint16(0))
			o := large(msg, 100)
			f.Add(msg, uint8(o.Segment), o.SegmentSize, o.HeaderLen, o.CsumStart, o.CsumOffset)
		}
	}
	pool := rdma.NewBufferPool()
	f.Fuzz(func(t *testing.T, msg []byte, kind uint8, size, header, start, offset uint16) {
		if len(msg) > rdma.MaxMessage {
			return
		}
		if Verify(msg) == Good {
			again := bytes.Clone(msg)
			Finish(again, Partial(again))
			if Verify(again) != Good {
				t.Errorf("not good any more:\n%x\n%x", msg, again)
			}
		}
		o := rdma.Offload{
			Segment: rdma.SegmentKind(kind), SegmentSize: size, HeaderLen: header,
			Checksum: true, CsumStart: start, CsumOffset: offset,
		}
		if !Valid(msg, o) {
			return
		}
		src := pool.Get(len(msg))
		defer src.Free()
		copy(src.Bytes(), msg)
		if o.Segment == rdma.SegmentNone {
			Finish(src.Bytes(), o)
			return
		}
		total := 0
		for i := range min(o.Segments(len(msg)), 100) {
			seg, rest := Segment(src, o, i, i%2 == 0)
			if seg.Len() > int(o.HeaderLen)+int(o.SegmentSize) || !Valid(seg.Bytes(), rest) {
				t.Errorf("segment %d has %d octets, %+v is left", i, seg.Len(), rest)
			}
			total += seg.Len() - int(o.HeaderLen)
			seg.Free()
		}
		if o.Segments(len(msg)) <= 100 && total != len(msg)-int(o.HeaderLen) {
			t.Errorf("%d octets became %d", len(msg)-int(o.HeaderLen), total)
		}
	})
}
