package nl

import (
	"iter"
	"os"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
)

// Send sends one message (netlink.Socket).
func (c *Conn) Send(m netlink.Message) error { return c.SendMessages([]netlink.Message{m}) }

// SendMessages sends messages in one datagram (netlink.Socket).
func (c *Conn) SendMessages(ms []netlink.Message) error {
	var buf []byte
	for _, m := range ms {
		b, err := m.MarshalBinary()
		if err != nil {
			return err
		}
		buf = append(buf, b...)
	}
	return c.WriteDatagram(buf)
}

// Receive returns the messages of the next datagram (netlink.Socket). Its
// errors are those of ReadDatagram.
func (c *Conn) Receive() ([]netlink.Message, error) {
	var ms []netlink.Message
	for m, err := range c.ReceiveIter() {
		if err != nil {
			return nil, err
		}
		ms = append(ms, m)
	}
	return ms, nil
}

// ReceiveIter is Receive, one message at a time (netlink.Socket).
func (c *Conn) ReceiveIter() iter.Seq2[netlink.Message, error] {
	return func(yield func(netlink.Message, error) bool) {
		d, err := c.ReadDatagram()
		if err != nil {
			yield(netlink.Message{}, err)
			return
		}
		for b := d.Bytes; ; {
			h, msg, rest, ok := nextMessage(b)
			if !ok || !yield(netlink.Message{Header: h, Data: msg[HeaderLen:]}, nil) {
				return
			}
			b = rest
		}
	}
}

// JoinGroup joins a multicast group: EINVAL for a group that there is not,
// EPERM without the privilege it asks for.
func (c *Conn) JoinGroup(group uint32) error { return c.SetOpt(OptAddMembership, group) }

// LeaveGroup leaves a multicast group.
func (c *Conn) LeaveGroup(group uint32) error { return c.SetOpt(OptDropMembership, group) }

// SetOption sets a flag option by the library's number for it.
func (c *Conn) SetOption(option netlink.ConnOption, enable bool) error {
	o, ok := map[netlink.ConnOption]Option{
		netlink.PacketInfo:          OptPacketInfo,
		netlink.BroadcastError:      OptBroadcastError,
		netlink.NoENOBUFS:           OptNoENOBUFS,
		netlink.ListenAllNSID:       OptListenAllNSID,
		netlink.CapAcknowledge:      OptCapAck,
		netlink.ExtendedAcknowledge: OptExtAck,
		netlink.GetStrictCheck:      OptStrictCheck,
	}[option]
	if !ok {
		return os.NewSyscallError("setsockopt", syscall.ENOPROTOOPT)
	}
	var v uint32
	if enable {
		v = 1
	}
	return c.SetOpt(o, v)
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.pc.SetReadDeadline(t); err != nil {
		return err
	}
	return c.pc.SetWriteDeadline(t)
}

// SetReadDeadline sets the time after which reads fail; zero is never.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.pc.SetReadDeadline(t) }

// SetWriteDeadline sets the time after which writes fail; zero is never.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.pc.SetWriteDeadline(t) }

// SetReadBuffer sets how many bytes may wait at the service, up to
// MaxQueueBytes, before messages are lost (SO_RCVBUF).
func (c *Conn) SetReadBuffer(n int) error {
	n = min(max(n, 0), MaxQueueBytes)
	if err := c.SetOpt(OptReceiveBuffer, uint32(n)); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readBuffer = n
	return nil
}

// ReadBuffer returns the size last set, DefaultQueueBytes at first.
func (c *Conn) ReadBuffer() (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.readBuffer, nil
}

// SetWriteBuffer sets the send buffer of the socket below, where there is one.
func (c *Conn) SetWriteBuffer(n int) error {
	if s, ok := c.pc.(interface{ SetWriteBuffer(int) error }); ok {
		if err := s.SetWriteBuffer(n); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeBuffer = n
	return nil
}

// WriteBuffer returns the size last set.
func (c *Conn) WriteBuffer() (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writeBuffer, nil
}

// SyscallConn gives the descriptor of the socket below, to poll it; EOPNOTSUPP
// where there is none. Datagrams that came in before the answer to an option
// wait in the Conn, where poll(2) does not see them.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if s, ok := c.pc.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, syscall.EOPNOTSUPP
}
