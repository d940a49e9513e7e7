package nl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
)

// ConnConfig says what a Conn asks for in its hello. The zero value is a
// NETLINK_ROUTE socket with no options, as socket(2) and bind(2) make it.
type ConnConfig struct {
	// Protocol is the netlink protocol, such as ProtoGeneric.
	Protocol int
	// PortID is the port id to bind, 0 for one chosen by the service.
	PortID uint32
	// Groups is a bit mask of groups 1 to 32 to join (nl_groups).
	Groups uint32
	// ExtAck, CapAck and StrictCheck set the options of these names.
	ExtAck, CapAck, StrictCheck bool
	// PacketInfo and ListenAllNSID set theirs; see Datagram.
	PacketInfo, ListenAllNSID bool
	// Unprivileged gives up all privileges: see HelloUnprivileged.
	Unprivileged bool
	// ReceiveSize is what one read takes, in bytes; dumps are packed to it.
	// 0: 8 KiB.
	ReceiveSize uint32
}

func (cfg ConnConfig) flags() uint32 {
	var f uint32
	for o, on := range map[Option]bool{
		OptExtAck: cfg.ExtAck, OptCapAck: cfg.CapAck, OptStrictCheck: cfg.StrictCheck,
		OptPacketInfo: cfg.PacketInfo, OptListenAllNSID: cfg.ListenAllNSID,
	} {
		if on {
			f |= 1 << o
		}
	}
	if cfg.Unprivileged {
		f |= HelloUnprivileged
	}
	return f
}

// Conn is the client end of a connection to the service, the counterpart of a
// netlink socket. It implements netlink.Socket with everything that
// netlink.Conn finds by type assertion except BPF filters.
//
// Methods may be called from any goroutine. Options and memberships are
// confirmed by the service before the call returns, so those calls read from
// the connection and obey its read deadline; what they find before their
// answer is kept for the next receive.
type Conn struct {
	pc   PacketConn
	port uint32
	seq  atomic.Uint32
	// token is held, by its one element, by who reads from pc.
	token chan struct{}
	// stash is what was read on the way to an answer; guarded by the token.
	stash []stashed

	mu      sync.Mutex
	waiting map[uint32]chan Control
	// readBuffer and writeBuffer are the last sizes set.
	readBuffer, writeBuffer int
}

type stashed struct {
	d   Datagram
	err error
}

// Datagram is one received netlink datagram.
type Datagram struct {
	// Bytes holds its messages.
	Bytes []byte
	// Group is the multicast group it was sent to, 0 for a reply. It is known
	// with the PacketInfo or ListenAllNSID option only (struct nl_pktinfo).
	Group uint32
	// NSID is the id of the network namespace it comes from, -1 for the
	// connection's own.
	NSID int32
}

var _ netlink.Socket = (*Conn)(nil) //nolint:staticcheck // the one way in for a socket that is not the kernel's

// NewConn says hello on pc and returns the connection. The error is the
// service's syscall.Errno: EPROTONOSUPPORT for an unknown protocol or version,
// EADDRINUSE for a port id that is taken, EPERM or EINVAL for a group. pc is
// closed on an error. ctx limits the hello.
func NewConn(ctx context.Context, pc PacketConn, cfg ConnConfig) (*Conn, error) {
	c := &Conn{
		pc:         pc,
		token:      make(chan struct{}, 1),
		waiting:    make(map[uint32]chan Control),
		readBuffer: DefaultQueueBytes, writeBuffer: DefaultQueueBytes,
	}
	expired := time.Unix(1, 0)
	stop := context.AfterFunc(ctx, func() {
		pc.SetReadDeadline(expired)
		pc.SetWriteDeadline(expired)
	})
	a, err := c.roundTrip(NewControl(OpHello, c.seq.Add(1),
		uint32(cfg.Protocol), cfg.PortID, cfg.Groups, cfg.flags(), cfg.ReceiveSize))
	if !stop() && err == nil {
		// The deadlines are set, or about to be.
		err = ctx.Err()
	}
	if err != nil {
		pc.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("nl: hello: %w", err)
	}
	c.port = a.Args[1]
	return c, nil
}

// PortID returns the port id that the service assigned.
func (c *Conn) PortID() uint32 { return c.port }

// NetlinkConn wraps c for the API of github.com/mdlayher/netlink.
func (c *Conn) NetlinkConn() *netlink.Conn { return netlink.NewConn(c, c.port) }

// Close closes the connection and unblocks its readers.
func (c *Conn) Close() error { return c.pc.Close() }

// WriteDatagram sends whole messages as they are: ENODATA for none, EMSGSIZE
// for more than MaxRequest.
func (c *Conn) WriteDatagram(b []byte) error {
	if len(b) == 0 {
		return os.NewSyscallError("sendmsg", syscall.ENODATA)
	}
	if len(b) > MaxRequest {
		return os.NewSyscallError("sendmsg", syscall.EMSGSIZE)
	}
	return c.pc.WritePacket(b)
}

// ReadDatagram returns the next datagram. ENOBUFS says that messages were
// lost at this place, because too many waited; the connection stays usable.
// ECONNRESET says that the service is gone.
func (c *Conn) ReadDatagram() (Datagram, error) {
	c.token <- struct{}{}
	defer func() { <-c.token }()
	for {
		if len(c.stash) > 0 {
			s := c.stash[0]
			c.stash[0] = stashed{}
			c.stash = c.stash[1:]
			return s.d, s.err
		}
		if err := c.read(); err != nil {
			return Datagram{}, err
		}
	}
}

// read takes one datagram from the connection: an answer goes to who waits
// for it, anything else to the stash. The caller holds the token.
func (c *Conn) read() error {
	b, _, err := c.pc.ReadPacket()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = os.NewSyscallError("recvmsg", syscall.ECONNRESET)
		}
		return err
	}
	d := Datagram{Bytes: b, NSID: noNSID}
	h, msg, rest, ok := nextMessage(b)
	switch {
	case !ok:
		c.stash = append(c.stash, stashed{d: d})
		return nil
	case h.Type == netlink.Overrun:
		c.stash = append(c.stash, stashed{err: os.NewSyscallError("recvmsg", syscall.ENOBUFS)})
		return nil
	}
	m, err := ParseControl(msg)
	switch {
	case errors.Is(err, errNotControl):
		c.stash = append(c.stash, stashed{d: d})
	case m.Answer:
		c.mu.Lock()
		ch := c.waiting[m.Sequence]
		delete(c.waiting, m.Sequence)
		c.mu.Unlock()
		if ch != nil {
			ch <- m
		}
	case m.Op == OpPacketInfo && err == nil:
		d.Bytes, d.Group, d.NSID = rest, m.Args[0], int32(m.Args[1])
		c.stash = append(c.stash, stashed{d: d})
	}
	return nil
}

// roundTrip sends a control message and waits for its answer, reading from
// the connection itself unless somebody else does.
func (c *Conn) roundTrip(m Control) (Control, error) {
	ch := make(chan Control, 1)
	c.mu.Lock()
	c.waiting[m.Sequence] = ch
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, m.Sequence)
		c.mu.Unlock()
	}()
	if err := c.pc.WritePacket(m.Append(nil)); err != nil {
		return Control{}, err
	}
	for {
		select {
		case a := <-ch:
			return a, a.Err()
		case c.token <- struct{}{}:
		}
		var err error
		// The last holder may have read the answer just before.
		if len(ch) == 0 {
			err = c.read()
		}
		<-c.token
		if err != nil && len(ch) == 0 {
			return Control{}, err
		}
	}
}

// SetOpt sets an option or a membership by its number.
func (c *Conn) SetOpt(o Option, value uint32) error {
	_, err := c.roundTrip(NewControl(OpSetOption, c.seq.Add(1), uint32(o), value))
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return os.NewSyscallError("setsockopt", errno)
	}
	return err
}
