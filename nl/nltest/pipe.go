package nltest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"ipoib/nl"
)

// PipeBytes is how many bytes wait in each direction of a Pipe before writes
// block, as in the buffer of a unix socket; packetOverhead is charged for each
// packet in addition.
const (
	PipeBytes      = 208 << 10
	packetOverhead = 512
)

// Pipe returns the two ends of a connection in memory. Datagrams from the
// first end are sent by the process with that pid.
func Pipe(pid int) (client, server nl.PacketConn) {
	up, down := newQueue(), newQueue()
	return &pipeEnd{in: down, out: up, from: nl.Sender{}}, &pipeEnd{in: up, out: down, from: nl.Sender{PID: pid}}
}

// pipeEnd is one end; from is who the other end is.
type pipeEnd struct {
	in, out *queue
	from    nl.Sender
}

func (p *pipeEnd) ReadPacket() ([]byte, nl.Sender, error) {
	b, err := p.in.get()
	if err == nil && len(b) > nl.MaxDatagram {
		err = nl.ErrPacketTooLong
	}
	return b, p.from, err
}

func (p *pipeEnd) WritePacket(b []byte) error {
	if len(b) == 0 {
		return syscall.ENODATA
	}
	return p.out.put(b)
}

func (p *pipeEnd) SetReadDeadline(t time.Time) error {
	p.in.read.set(p.in, t)
	return nil
}

func (p *pipeEnd) SetWriteDeadline(t time.Time) error {
	p.out.write.set(p.out, t)
	return nil
}

func (p *pipeEnd) Close() error {
	p.in.close(&p.in.readerGone)
	p.out.close(&p.out.writerGone)
	p.in.read.set(p.in, time.Time{})
	p.out.write.set(p.out, time.Time{})
	return nil
}

// queue is one direction.
type queue struct {
	mu                     sync.Mutex
	change                 sync.Cond
	packets                [][]byte
	bytes                  int
	readerGone, writerGone bool
	read, write            deadline
}

// deadline is guarded by the queue's mutex.
type deadline struct {
	timer   *time.Timer
	expired bool
	// round tells a timer that was replaced from the current one.
	round int
}

func newQueue() *queue {
	q := &queue{}
	q.change.L = &q.mu
	return q
}

func (d *deadline) set(q *queue, t time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.round++
	d.expired = false
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.expired = true
		q.change.Broadcast()
		return
	}
	round := d.round
	d.timer = time.AfterFunc(wait, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if d.round == round {
			d.expired = true
			q.change.Broadcast()
		}
	})
}

func (q *queue) close(gone *bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	*gone = true
	q.change.Broadcast()
}

func (q *queue) get() ([]byte, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		switch {
		case q.readerGone:
			return nil, net.ErrClosed
		case q.read.expired:
			return nil, os.ErrDeadlineExceeded
		case len(q.packets) > 0:
			b := q.packets[0]
			q.packets = q.packets[1:]
			q.bytes -= len(b) + packetOverhead
			q.change.Broadcast()
			return b, nil
		case q.writerGone:
			return nil, io.EOF
		}
		q.change.Wait()
	}
}

func (q *queue) put(b []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		switch {
		case q.writerGone:
			return net.ErrClosed
		case q.readerGone:
			return syscall.EPIPE
		case q.write.expired:
			return os.ErrDeadlineExceeded
		case q.bytes < PipeBytes:
			q.packets = append(q.packets, append([]byte(nil), b...))
			q.bytes += len(b) + packetOverhead
			q.change.Broadcast()
			return nil
		}
		q.change.Wait()
	}
}
