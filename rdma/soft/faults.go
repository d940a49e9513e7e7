package soft

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"

	"ipoib/rdma"
	"ipoib/rdma/header"
)

// Faults is what one direction of a link does to packets. Probabilities are
// 0 to 1 and apply to each packet of the wire, so a large send is cut first.
// The zero value is a perfect link.
type Faults struct {
	// Loss, Duplicate, Corrupt: the packet vanishes, arrives twice, arrives
	// with a flipped bit (and is then dropped by its CRC).
	Loss, Duplicate, Corrupt float64
	// Reorder holds a packet back by ReorderDelay (1 ms if 0) while later
	// ones pass.
	Reorder      float64
	ReorderDelay time.Duration
	// Delay holds every packet back, keeping the order.
	Delay time.Duration
	// RateMbps paces the link to a data rate in Mb/s; 0 does not.
	RateMbps int
	// Match limits the faults to the packets that it accepts; nil is all.
	Match func(PacketInfo) bool
}

// PacketInfo is what a fault filter sees of a packet.
type PacketInfo struct {
	SLID, DLID rdma.LID
	DestQP     rdma.QPN
	Opcode     header.Opcode
	PKey       rdma.PKey
	PSN        rdma.PSN
	// Management is set for subnet management packets (VL15).
	Management bool
	// Payload must not be kept or changed.
	Payload []byte
}

func (p *packet) info() PacketInfo {
	i := PacketInfo{
		SLID: p.SLID, DLID: p.DLID, DestQP: p.DestQP, Opcode: p.Opcode,
		PKey: p.PKey, PSN: p.PSN, Management: p.VL == vlManagement,
	}
	if p.buf != nil {
		i.Payload = p.buf.Bytes()
	}
	return i
}

// SetFaults sets the faults of both directions.
func (l *Link) SetFaults(f Faults) {
	l.SetFaultsFrom(0, f)
	l.SetFaultsFrom(1, f)
}

// SetFaultsFrom sets the faults for packets that the given end sends: 0 is
// the first end passed to Connect, 1 the second.
func (l *Link) SetFaultsFrom(end int, f Faults) {
	d := &l.dirs[end&1]
	// What the old state still holds back arrives all the same.
	if f.Loss == 0 && f.Duplicate == 0 && f.Corrupt == 0 && f.Reorder == 0 && f.Delay == 0 && f.RateMbps == 0 {
		d.faults.Store(nil)
		return
	}
	if f.ReorderDelay == 0 {
		f.ReorderDelay = time.Millisecond
	}
	l.fabric.mu.Lock()
	rng := rand.New(rand.NewPCG(l.fabric.rng.Uint64(), l.fabric.rng.Uint64()))
	l.fabric.mu.Unlock()
	d.faults.Store(&faultState{Faults: f, clock: l.fabric.clock, rng: rng})
}

// faultState applies faults to one direction.
type faultState struct {
	Faults
	clock clockwork.Clock

	mu      sync.Mutex
	rng     *rand.Rand      // guarded by mu, as is all below
	queue   delayQueue      // packets held back
	seq     uint64          // keeps equal times in order
	busy    time.Time       // the paced link is busy until then
	timer   clockwork.Timer // fires for the head of queue
	sending bool            // a goroutine is emptying the queue
}

func (f *faultState) carry(pk *packet, from, to *port) {
	if pk.isSingle() {
		f.match(pk, from, to)
		return
	}
	if pk.pathMTU == 0 && f.Match != nil && !f.Match(pk.info()) {
		// A large send that the filter does not want stays whole. Of an RC
		// message the filter is asked about every packet: they differ.
		to.receive(pk)
		return
	}
	for seg := range segments(pk) {
		f.match(seg, from, to)
	}
	pk.release()
}

// match applies the faults to one packet of the wire, if the filter wants it.
func (f *faultState) match(pk *packet, from, to *port) {
	if f.Match != nil && !f.Match(pk.info()) {
		to.receive(pk)
		return
	}
	f.one(pk, from, to)
}

// one applies the faults to one packet of the wire.
func (f *faultState) one(pk *packet, from, to *port) {
	f.mu.Lock()
	lose := f.roll(f.Loss)
	twice := f.roll(f.Duplicate)
	corrupt := f.roll(f.Corrupt)
	late := f.roll(f.Reorder)
	bit := f.rng.Uint64()
	f.mu.Unlock()
	if lose {
		from.drop(pk, DropFault)
		return
	}
	if corrupt {
		frame := pk.encode(nil)
		pk.release()
		i := bit % uint64(len(frame)*8)
		frame[i/8] ^= 1 << (i % 8)
		to.receiveFrame(frame)
		return
	}
	if twice {
		c := pk.clone()
		f.pass(&c, to, late)
	}
	f.pass(pk, to, late)
}

func (f *faultState) roll(p float64) bool { return p > 0 && f.rng.Float64() < p }

// pass hands a packet over now or later.
func (f *faultState) pass(pk *packet, to *port, late bool) {
	if f.Delay == 0 && f.RateMbps == 0 && !late {
		f.mu.Lock()
		held := len(f.queue) > 0 && f.Reorder == 0
		f.mu.Unlock()
		if !held {
			to.receive(pk)
			return
		}
	}
	now := f.clock.Now()
	_, words, _ := pk.wire()
	f.mu.Lock()
	defer f.mu.Unlock()
	due := now
	if f.RateMbps > 0 {
		if f.busy.Before(now) {
			f.busy = now
		}
		f.busy = f.busy.Add(time.Duration(words*4*8*1000/uint64(f.RateMbps)) * time.Nanosecond)
		due = f.busy
	}
	due = due.Add(f.Delay)
	if late {
		due = due.Add(f.ReorderDelay)
	}
	f.seq++
	heap.Push(&f.queue, &delayed{due: due, seq: f.seq, pk: pk.detach(), to: to})
	f.armLocked()
}

func (f *faultState) armLocked() {
	if f.sending || len(f.queue) == 0 {
		return
	}
	d := max(f.queue[0].due.Sub(f.clock.Now()), 0)
	if f.timer == nil {
		f.timer = f.clock.AfterFunc(d, f.drain)
		return
	}
	f.timer.Reset(d)
}

// drain delivers what is due, in order, on the timer's goroutine.
func (f *faultState) drain() {
	f.mu.Lock()
	if f.sending {
		f.mu.Unlock()
		return
	}
	f.sending = true
	for len(f.queue) > 0 && !f.queue[0].due.After(f.clock.Now()) {
		d := heap.Pop(&f.queue).(*delayed)
		f.mu.Unlock()
		d.to.receive(d.pk)
		f.mu.Lock()
	}
	f.sending = false
	f.armLocked()
	f.mu.Unlock()
}

type delayed struct {
	due time.Time
	seq uint64
	pk  *packet
	to  *port
}

type delayQueue []*delayed

func (q delayQueue) Len() int { return len(q) }
func (q delayQueue) Less(i, j int) bool {
	if !q[i].due.Equal(q[j].due) {
		return q[i].due.Before(q[j].due)
	}
	return q[i].seq < q[j].seq
}
func (q delayQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *delayQueue) Push(x any)   { *q = append(*q, x.(*delayed)) }
func (q *delayQueue) Pop() any {
	old := *q
	n := len(old) - 1
	x := old[n]
	old[n] = nil
	*q = old[:n]
	return x
}
