package nl

import (
	"errors"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/jonboulle/clockwork"
)

// client is the server's side of one connection: what the kernel keeps in a
// struct netlink_sock.
//
// A goroutine reads and processes its requests in order, another one writes
// its queue. The queue is bounded: what does not fit is dropped and the loss
// is reported in its place (netlink_overrun).
type client struct {
	srv   *Server
	conn  PacketConn
	peer  Peer
	netns NetNS

	// Set by the hello, before the client is in any table of the server.
	handler Protocol
	proto   int
	port    uint32
	unpriv  bool
	hello   clockwork.Timer

	// groups are the memberships; guarded by srv.mu.
	groups map[uint32]struct{}

	// mu guards what follows.
	mu    sync.Mutex
	ready sync.Cond
	queue []outItem
	// queued is what the queue charges, limit what it may (SO_RCVBUF).
	queued, limit int
	// receiveSize is what dumps are packed to, in bytes.
	receiveSize int
	// options is the set of flag options, bit n for option n.
	options uint32
	// congested: messages were lost, and all are until the queue was read up
	// to there (NETLINK_S_CONGESTED).
	congested bool
	drops     uint64
	// broken: the peer does not receive any more; stopped: the writer ends.
	broken, stopped bool
	writer          sync.WaitGroup
	// released is closed when the client has ended.
	released chan struct{}

	// dumpMu guards dump and serializes its steps; taken before mu.
	dumpMu sync.Mutex
	dump   *runningDump
}

// outItem is a datagram in the queue, or the mark of a loss.
type outItem struct {
	b       []byte
	overrun bool
}

// itemOverhead is charged for a datagram in addition to its bytes, as
// skb->truesize does.
const itemOverhead = 512

func newClient(s *Server, conn PacketConn, peer Peer) *client {
	c := &client{
		srv: s, conn: conn, peer: peer, netns: peer.NetNS(), proto: protoUnknown,
		groups:      make(map[uint32]struct{}),
		limit:       s.cfg.QueueBytes,
		receiveSize: defaultReceiveSize,
		released:    make(chan struct{}),
	}
	c.ready.L = &c.mu
	return c
}

func (c *client) start() {
	s := c.srv
	c.hello = s.cfg.Clock.AfterFunc(s.cfg.HelloTimeout, func() { c.conn.Close() })
	c.writer.Go(c.writeLoop)
	go func() {
		defer s.wg.Done()
		c.readLoop()
		c.stop()
	}()
}

// stop ends the client after its last request. It runs once.
func (c *client) stop() {
	c.hello.Stop()
	c.srv.remove(c)
	c.mu.Lock()
	c.stopped = true
	drops := c.drops
	c.mu.Unlock()
	c.ready.Broadcast()
	close(c.released)
	c.conn.Close()
	if drops > 0 {
		c.srv.cfg.Logger.Info("netlink client did not read in time", "pid", c.peer.PID(), "portid", c.port, "drops", drops)
	}
	c.writer.Wait()
	c.endDump()
	c.peer.Close()
}

func (c *client) readLoop() {
	for {
		b, from, err := c.conn.ReadPacket()
		if err == nil && len(b) > MaxRequest {
			err = ErrPacketTooLong
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && c.srv.ctx.Err() == nil {
				c.srv.cfg.Logger.Debug("netlink connection ended", "pid", c.peer.PID(), "err", err)
			}
			return
		}
		c.srv.trace.datagram(c, true, b)
		if err := c.receive(b, from); err != nil {
			c.srv.cfg.Logger.Warn("netlink connection dropped", "pid", c.peer.PID(), "uid", c.peer.UID(), "err", err)
			c.flush()
			return
		}
		c.penalize()
	}
}

// penalty is how long the next request of a client waits that does not read
// its answers.
const penalty = time.Millisecond

// penalize slows a client down whose queue is full: otherwise it could keep
// the handlers busy for nothing, at the cost of all others. It is not stopped,
// for the kernel does not stop it either.
func (c *client) penalize() {
	c.mu.Lock()
	full := c.congested || c.queued > c.limit
	c.mu.Unlock()
	if !full {
		return
	}
	t := time.NewTimer(penalty)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.srv.ctx.Done():
	}
}

// flush waits until the queue was written, for the last words to a client
// that is being dropped. A client that does not read is not waited for: its
// queue is not empty before, and the answer to a hello always fits.
func (c *client) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) > 0 && c.handler == nil && !c.broken && c.srv.ctx.Err() == nil {
		c.ready.Wait()
	}
}

func (c *client) writeLoop() {
	for {
		c.mu.Lock()
		for len(c.queue) == 0 && !c.stopped {
			c.ready.Wait()
		}
		if c.stopped {
			c.mu.Unlock()
			return
		}
		it := c.queue[0]
		if it.overrun {
			c.congested = false
			it.b = overrunMessage(c.port)
		}
		broken := c.broken
		c.mu.Unlock()

		// A peer that cannot be written to may still have sent requests that
		// are to be carried out; only reading ends the client.
		if !broken {
			c.srv.trace.datagram(c, false, it.b)
			if err := c.conn.WritePacket(it.b); err != nil {
				broken = true
			}
		}

		c.mu.Lock()
		c.queue[0] = outItem{}
		if c.queue = c.queue[1:]; len(c.queue) == 0 {
			c.queue = nil
		}
		if !it.overrun {
			c.queued -= len(it.b) + itemOverhead
		}
		c.broken = broken
		c.mu.Unlock()
		c.ready.Broadcast()
		if broken {
			c.endDump()
		} else {
			c.stepDump()
		}
	}
}

// send queues a datagram and reports whether there was room for it. Like the
// kernel's it looks at what waits already, so that a large datagram fits into
// an empty queue. b must not change any more.
func (c *client) send(b []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken || c.stopped {
		return false
	}
	if c.congested || c.queued > c.limit {
		c.drops++
		if !c.congested && c.options&(1<<OptNoENOBUFS) == 0 {
			c.congested = true
			c.queue = append(c.queue, outItem{overrun: true})
			c.ready.Broadcast()
		}
		return false
	}
	c.pushLocked(b)
	return true
}

// push queues a datagram whatever waits already.
func (c *client) push(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.broken && !c.stopped {
		c.pushLocked(b)
	}
}

func (c *client) pushLocked(b []byte) {
	c.queue = append(c.queue, outItem{b: b})
	c.queued += len(b) + itemOverhead
	c.ready.Broadcast()
}

func (c *client) option(o Option) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.options&(1<<o) != 0
}

// capable judges a capability in the service's user namespace, or with netns
// set in the one that owns the client's network namespace.
func (c *client) capable(from Sender, k Cap, netns bool) bool {
	switch {
	case c.unpriv:
		return false
	case netns:
		return c.peer.NetCapable(from, k)
	}
	return c.peer.Capable(from, k)
}

// errFlood ends a connection that asks for control without reading answers:
// setsockopt(2) has no queue that could overflow.
var errFlood = errors.New("control messages sent without reading the answers")

// control processes one control message. An error drops the connection.
func (c *client) control(m Control, perr error, from Sender) error {
	c.mu.Lock()
	flood := c.queued > 2*max(c.limit, DefaultQueueBytes)
	c.mu.Unlock()
	if flood {
		return errFlood
	}
	var err error
	var value uint32
	switch {
	case errors.Is(perr, ErrControlVersion):
		err = syscall.EPROTONOSUPPORT
	case perr != nil:
		err = syscall.EINVAL
	case m.Answer:
		err = syscall.EINVAL
	case m.Op == OpHello && c.handler == nil:
		value, err = c.greet(m, from)
	case m.Op == OpSetOption && c.handler != nil:
		err = c.setOption(Option(m.Args[0]), m.Args[1], from)
	default:
		err = syscall.EINVAL
	}
	c.push(m.answer(err, value).Append(nil))
	if c.handler == nil {
		return err
	}
	return nil
}

// greet processes the hello.
func (c *client) greet(m Control, from Sender) (uint32, error) {
	proto, want, groups, flags, size := int(m.Args[0]), m.Args[1], m.Args[2], m.Args[3], m.Args[4]
	c.srv.mu.RLock()
	handler := c.srv.protos[proto]
	c.srv.mu.RUnlock()
	if handler == nil {
		return 0, syscall.EPROTONOSUPPORT
	}
	c.proto, c.unpriv = proto, flags&HelloUnprivileged != 0
	if flags &^= HelloUnprivileged; flags&^helloOptions != 0 {
		return 0, syscall.ENOPROTOOPT
	}
	if flags&(1<<OptListenAllNSID) != 0 && !c.capable(from, CapNetBroadcast, true) {
		return 0, syscall.EPERM
	}
	capable := func(k Cap) bool { return c.capable(from, k, true) }
	for g := uint32(1); groups>>(g-1) != 0 && g <= 32; g++ {
		if groups&(1<<(g-1)) == 0 {
			continue
		}
		if err := mayJoin(handler, g, capable); err != nil {
			return 0, err
		}
	}
	port, err := c.srv.assignPort(c, want)
	if err != nil {
		return 0, err
	}
	c.hello.Stop()
	c.port, c.handler = port, handler
	c.mu.Lock()
	c.options = flags
	c.mu.Unlock()
	c.setReceiveSize(size)
	for g := uint32(1); g <= 32; g++ {
		if groups&(1<<(g-1)) != 0 {
			c.srv.join(c, g)
		}
	}
	return port, nil
}

func mayJoin(p Protocol, group uint32, capable func(Cap) bool) error {
	if group == 0 || group > p.Groups() {
		return syscall.EINVAL
	}
	return p.Bind(group, capable)
}

// setOption is netlink_setsockopt.
func (c *client) setOption(o Option, v uint32, from Sender) error {
	switch o {
	case OptAddMembership:
		err := mayJoin(c.handler, v, func(k Cap) bool { return c.capable(from, k, true) })
		if err == nil {
			c.srv.join(c, v)
		}
		return err
	case OptDropMembership:
		if v == 0 || v > c.handler.Groups() {
			return syscall.EINVAL
		}
		c.srv.leave(c, v)
		return nil
	case OptReceiveBuffer:
		c.mu.Lock()
		defer c.mu.Unlock()
		// SOCK_MIN_RCVBUF is about 2 KiB.
		c.limit = int(min(max(v, 2048), MaxQueueBytes))
		return nil
	case OptReceiveSize:
		c.setReceiveSize(v)
		return nil
	}
	if o >= 32 || helloOptions&(1<<o) == 0 {
		return syscall.ENOPROTOOPT
	}
	if o == OptListenAllNSID && !c.capable(from, CapNetBroadcast, true) {
		return syscall.EPERM
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.options &^= 1 << o
	if v != 0 {
		c.options |= 1 << o
	}
	return nil
}
