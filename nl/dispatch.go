package nl

import (
	"context"
	"errors"
	"syscall"

	"github.com/mdlayher/netlink"
)

// Request is one netlink request and the way to answer it. It is valid until
// the handler returns; the message bytes may be kept.
type Request struct {
	// Header is the request's nlmsghdr.
	Header netlink.Header
	// Message is the whole message, header included, without padding.
	Message []byte

	c    *client
	from Sender
	warn string
}

// Payload returns what follows the nlmsghdr.
func (r *Request) Payload() []byte { return r.Message[HeaderLen:] }

// NetNS returns the network namespace that the request acts in.
func (r *Request) NetNS() NetNS { return r.c.netns }

// Peer returns who is at the other end.
func (r *Request) Peer() Peer { return r.c.peer }

// Context ends when the server is closed, not when the client vanishes.
func (r *Request) Context() context.Context { return r.c.srv.ctx }

// Capable reports whether the requester has a capability in the service's
// user namespace (netlink_capable).
func (r *Request) Capable(k Cap) bool { return r.c.capable(r.from, k, false) }

// NetCapable reports whether the requester has a capability over its network
// namespace (netlink_net_capable).
func (r *Request) NetCapable(k Cap) bool { return r.c.capable(r.from, k, true) }

// Strict reports whether the client asked for strict checking of GET requests
// (NETLINK_GET_STRICT_CHK).
func (r *Request) Strict() bool { return r.c.option(OptStrictCheck) }

// Warn sets the extended-ack text of the acknowledgement, unless the handler
// returns an error with a text of its own. With success it is a warning.
func (r *Request) Warn(msg string) { r.warn = msg }

// Parse reads the attributes behind a family header of hdrLen bytes
// (nlmsg_parse). Trailing bytes that the mode tolerates become a warning.
func (r *Request) Parse(hdrLen int, p *Policy, v Validation) (Attrs, error) {
	if len(r.Message) < HeaderLen+hdrLen {
		return Attrs{}, Errorf(syscall.EINVAL, msgHeader)
	}
	off := min(HeaderLen+Align(hdrLen), len(r.Message))
	s, err := Parse(r.Message[off:], uint32(off), p, v)
	if err == nil && s.leftover > 0 {
		r.warn = msgLeftover
	}
	return s, err
}

// ReplyHeader returns the header of an answer to the request: its sequence
// number, and the client's port id.
func (r *Request) ReplyHeader(t netlink.HeaderType, flags netlink.HeaderFlags) netlink.Header {
	return netlink.Header{Type: t, Flags: flags, Sequence: r.Header.Sequence, PID: r.c.port}
}

// Reply sends one message, in a datagram of its own, to the requester. fill
// writes what follows the nlmsghdr. The error is that of fill. A client that
// does not read loses the message.
func (r *Request) Reply(t netlink.HeaderType, flags netlink.HeaderFlags, fill func(*Encoder) error) error {
	var e Encoder
	if err := e.Message(r.ReplyHeader(t, flags), fill); err != nil {
		return err
	}
	r.c.send(e.b)
	return nil
}

// errNoHello ends a connection whose first packet is no hello.
var errNoHello = errors.New("first packet is not a hello")

// receive processes one datagram (netlink_rcv_skb). An error drops the
// connection.
func (c *client) receive(b []byte, from Sender) error {
	for {
		h, msg, rest, ok := nextMessage(b)
		if !ok {
			if c.handler == nil {
				return errNoHello
			}
			return nil
		}
		b = rest
		m, err := ParseControl(msg)
		switch {
		case !errors.Is(err, errNotControl):
			if err := c.control(m, err, from); err != nil {
				return err
			}
		case c.handler == nil:
			return errNoHello
		default:
			c.request(&Request{Header: h, Message: msg, c: c, from: from})
		}
	}
}

// request processes one message and acknowledges it.
func (c *client) request(r *Request) {
	var err error
	if r.Header.Flags&netlink.Request != 0 && r.Header.Type >= MinType {
		var start DumpStart
		if start, err = c.handler.Handle(r); err == nil && start != nil {
			if err = c.startDump(r, start); err == nil {
				return
			}
		}
	}
	if err == nil && r.Header.Flags&netlink.Acknowledge == 0 {
		return
	}
	var e *Error
	if err != nil {
		full := toError(err)
		if full.Msg == "" {
			// In the kernel both are one netlink_ext_ack.
			full.Msg = r.warn
		}
		e = &full
	}
	c.mu.Lock()
	capAck, extAck := c.options&(1<<OptCapAck) != 0, c.options&(1<<OptExtAck) != 0
	c.mu.Unlock()
	c.send(ackMessage(r.Message, r.Header, c.port, e, r.warn, capAck, extAck))
}
