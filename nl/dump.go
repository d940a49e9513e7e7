package nl

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"syscall"

	"github.com/mdlayher/netlink"
)

// Dump is the answer to a dump request: an iterator that the server asks for
// one object at a time while the client reads.
type Dump struct {
	// Type is the type of every message.
	Type netlink.HeaderType
	// Flags are added to MULTI on every message, such as
	// netlink.DumpFiltered.
	Flags netlink.HeaderFlags
	// Next writes what follows the nlmsghdr of the next message. It returns
	// io.EOF after the last object and ErrSkip to write none this time; any
	// other error ends the dump with its errno. It is not called concurrently
	// with itself, though perhaps with other requests of the client, and must
	// not hold locks between calls: the client may stop reading for as long as
	// it likes.
	Next func(*Encoder) error
	// Done is called once when the dump has ended or its client has. nil for
	// nothing to do.
	Done func()
	// Generation changes whenever what is dumped does. A change during the
	// dump sets DUMP_INTR (nl_dump_check_consistent). nil: consistent.
	Generation func() uint64
}

// DumpStart makes a dump. Its error is sent as an acknowledgement would be;
// an error of Dump.Next ends up in the DONE message.
type DumpStart func() (*Dump, error)

// ErrSkip is returned by Dump.Next to leave an object out.
var ErrSkip = errors.New("skip this object")

// Each returns a Next that calls put for the items in turn. put may return
// ErrSkip.
func Each[T any](items []T, put func(*Encoder, T) error) func(*Encoder) error {
	return func(e *Encoder) error {
		if len(items) == 0 {
			return io.EOF
		}
		it := items[0]
		items = items[1:]
		return put(e, it)
	}
}

const (
	// defaultReceiveSize is what dumps are packed to for a client that did
	// not say how much it receives at a time: libmnl's MNL_SOCKET_BUFFER_SIZE
	// is at most 8 KiB.
	defaultReceiveSize = 8 << 10
	// maxReceiveSize is what the kernel goes up to: SKB_WITH_OVERHEAD(32768).
	maxReceiveSize = 32<<10 - 320
)

func (c *client) setReceiveSize(n uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.receiveSize = int(min(n, maxReceiveSize))
	if n == 0 {
		c.receiveSize = defaultReceiveSize
	}
}

// runningDump is a dump of which the client has not seen the end.
type runningDump struct {
	*Dump
	h     netlink.Header
	port  uint32
	gen   uint64
	known bool
	// pending is a message that did not fit into the last datagram.
	pending []byte
	ended   bool
	err     error
}

// startDump begins a dump and sends its first datagram. A connection has one
// dump at a time, as in the kernel: EBUSY.
func (c *client) startDump(r *Request, start DumpStart) error {
	c.dumpMu.Lock()
	defer c.dumpMu.Unlock()
	if c.dump != nil {
		return syscall.EBUSY
	}
	d, err := start()
	if err != nil {
		return err
	}
	c.dump = &runningDump{Dump: d, h: r.Header, port: c.port}
	c.stepDumpLocked()
	return nil
}

// stepDump sends the next datagram of the dump if there is a dump, and not
// more than half the queue waits (netlink_recvmsg).
func (c *client) stepDump() {
	c.dumpMu.Lock()
	defer c.dumpMu.Unlock()
	c.stepDumpLocked()
}

func (c *client) stepDumpLocked() {
	d := c.dump
	if d == nil {
		return
	}
	c.mu.Lock()
	room, size := c.queued <= c.limit/2, c.receiveSize
	waits, gone := len(c.queue) > 0, c.broken || c.stopped
	extAck := c.options&(1<<OptExtAck) != 0
	c.mu.Unlock()
	if gone {
		c.finishDumpLocked()
		return
	}
	// With something in the queue the writer comes back here.
	if waits && !room {
		return
	}
	if b := d.pack(size); len(b) > 0 {
		c.push(b)
		return
	}
	var e *Error
	if d.err != nil {
		full := toError(d.err)
		e = &full
	}
	b := doneMessage(d.h, d.port, d.Flags|d.interrupted(), e, extAck)
	c.finishDumpLocked()
	c.push(b)
}

// pack makes a datagram of at most size bytes, larger only for a single
// message. It is empty at the end.
func (d *runningDump) pack(size int) []byte {
	// The last message is written before it is known not to fit.
	e := NewEncoder(append(make([]byte, 0, size+size/4), d.pending...))
	d.pending = nil
	for !d.ended && e.Len() < size {
		start := e.Len()
		err := e.Message(netlink.Header{
			Type: d.Type, Flags: netlink.Multi | d.Flags, Sequence: d.h.Sequence, PID: d.port,
		}, d.Next)
		switch {
		case errors.Is(err, ErrSkip):
			continue
		case err != nil:
			d.ended = true
			if !errors.Is(err, io.EOF) {
				d.err = err
			}
			continue
		}
		if f := d.interrupted(); f != 0 {
			at := e.b[start+6:]
			binary.NativeEndian.PutUint16(at, binary.NativeEndian.Uint16(at)|uint16(f))
		}
		if start > 0 && e.Len() > size {
			d.pending = slices.Clone(e.b[start:])
			e.Truncate(start)
			break
		}
	}
	return e.Bytes()
}

// interrupted returns DUMP_INTR if the generation changed since it was asked
// last.
func (d *runningDump) interrupted() netlink.HeaderFlags {
	if d.Generation == nil {
		return 0
	}
	prev, known := d.gen, d.known
	d.gen, d.known = d.Generation(), true
	if known && prev != d.gen {
		return netlink.DumpInterrupted
	}
	return 0
}

// endDump drops the dump of a client that is gone.
func (c *client) endDump() {
	c.dumpMu.Lock()
	defer c.dumpMu.Unlock()
	c.finishDumpLocked()
}

func (c *client) finishDumpLocked() {
	if d := c.dump; d != nil {
		c.dump = nil
		if d.Done != nil {
			d.Done()
		}
	}
}
