package soft

import (
	"errors"
	"slices"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/header"
)

// encode appends the wire form of a packet that is one on the wire.
func (p *packet) encode(dst []byte) []byte {
	var payload []byte
	if p.buf != nil {
		payload = p.buf.Bytes()
	}
	out, err := p.Append(dst, payload)
	if err != nil {
		// The fabric made the headers: only a payload above the largest
		// PktLen is left, and ports drop those by their MTU.
		return dst
	}
	return out
}

// parseReasons tells which counter a parse error belongs to.
var parseReasons = []struct {
	err    error
	reason DropReason
}{
	{header.ErrLength, DropLength}, {header.ErrLVer, DropLVer}, {header.ErrVCRC, DropVCRC},
	{header.ErrLNH, DropLNH}, {header.ErrGRH, DropGRH}, {header.ErrMulticast, DropGRH},
	{header.ErrICRC, DropICRC}, {header.ErrTVer, DropBTH}, {header.ErrOpcode, DropOpcode},
}

// receiveFrame takes the bytes of a frame from the link, CRCs and all.
func (p *port) receiveFrame(frame []byte) {
	h, err := header.Parse(frame)
	if err != nil {
		p.counters.rcvErrors.Add(1)
		for _, e := range parseReasons {
			if errors.Is(err, e.err) {
				p.counters.drops[e.reason].Add(1)
				if e.reason == DropVCRC {
					p.counters.symbolErrors.Add(1)
				}
				break
			}
		}
		return
	}
	pk := packet{Fields: h.Fields()}
	pk.Ext = nil
	if len(h.Payload) > rdma.MaxMessage {
		p.counters.drops[DropLength].Add(1)
		return
	}
	if len(h.Payload) > 0 || pk.Opcode == header.UDSendOnly || pk.Opcode == header.RCSendOnly {
		pk.buf = p.node.fabric.buffers.Get(len(h.Payload))
		copy(pk.buf.Bytes(), h.Payload)
	}
	p.receive(&pk)
}

// Inject delivers the bytes of a frame, LRH to VCRC, to a port as if they
// came over its link.
func (f *Fabric) Inject(to End, frame []byte) error {
	p, err := to.port()
	if err != nil {
		return err
	}
	p.receiveFrame(frame)
	return nil
}

// Dir is the direction of a captured frame.
type Dir uint8

// The directions.
const (
	DirIn Dir = iota
	DirOut
)

// Frame is a captured frame.
type Frame struct {
	Time time.Time
	Dir  Dir
	// Data is the frame from LRH to VCRC. It is valid during the call only.
	Data []byte
}

// Tap receives a copy of every frame that passes a port. It is called on the
// packet path: it must not block.
type Tap struct{ fn func(Frame) }

// Tap captures at a port until the returned function is called.
func (f *Fabric) Tap(at End, fn func(Frame)) (cancel func(), err error) {
	p, err := at.port()
	if err != nil {
		return nil, err
	}
	t := &Tap{fn: fn}
	p.node.mu.Lock()
	defer p.node.mu.Unlock()
	p.setTaps(func(old []*Tap) []*Tap { return append(slices.Clip(old), t) })
	return func() {
		p.node.mu.Lock()
		defer p.node.mu.Unlock()
		p.setTaps(func(old []*Tap) []*Tap {
			return slices.DeleteFunc(slices.Clone(old), func(o *Tap) bool { return o == t })
		})
	}, nil
}

func (p *port) setTaps(change func([]*Tap) []*Tap) {
	var old []*Tap
	if t := p.taps.Load(); t != nil {
		old = *t
	}
	if t := change(old); len(t) > 0 {
		p.taps.Store(&t)
	} else {
		p.taps.Store(nil)
	}
}

// capture shows the taps the frames that a packet is on the wire.
func (p *port) capture(taps []*Tap, pk *packet, dir Dir) {
	now := p.node.fabric.clock.Now()
	show := func(one *packet) {
		data := one.encode(nil)
		for _, t := range taps {
			t.fn(Frame{Time: now, Dir: dir, Data: data})
		}
	}
	if pk.isSingle() && !pk.offload.Checksum {
		show(pk)
		return
	}
	for seg := range segments(pk) {
		show(seg)
		seg.release()
	}
}
