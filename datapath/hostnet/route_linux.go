package hostnet

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"ipoib/datapath/internal/netns"
)

// Lookups are made for the first packet to each destination, so they have
// sockets of their own, on which nothing but one request and its answer is
// under way, and encode into fixed buffers. The kernel answers within the
// call that sends the request (rtnetlink_rcv, RTNL_FLAG_DOIT_UNLOCKED):
// reading the answer does not block.

// routeTimeout bounds the wait for an answer, should the above not hold.
var routeTimeout = unix.Timeval{Sec: 2}

// routeIdle is how many unused sockets are kept.
const routeIdle = 4

// routeSocket is one rtnetlink socket for lookups.
type routeSocket struct {
	fd  int
	seq uint32
	req [routeRequestMax]byte
	rep [4096]byte
}

// routePool hands out sockets. Its zero value is ready to use.
type routePool struct {
	mu     sync.Mutex
	idle   []*routeSocket // guarded by mu
	closed bool           // guarded by mu
}

// routeSocket returns an idle socket, or opens one in the namespace.
func (n *namespace) routeSocket() (*routeSocket, error) {
	p := &n.routes
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	if k := len(p.idle); k > 0 {
		s := p.idle[k-1]
		p.idle = p.idle[:k-1]
		return s, nil
	}
	s := &routeSocket{}
	err := netns.Do(n.file, func() (err error) {
		s.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &routeTimeout); err != nil {
		unix.Close(s.fd)
		return nil, err
	}
	return s, nil
}

// put takes a socket back; one on which something went wrong is closed.
func (p *routePool) put(s *routeSocket, broken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if broken || p.closed || len(p.idle) >= routeIdle {
		unix.Close(s.fd)
		return
	}
	p.idle = append(p.idle, s)
}

func (p *routePool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, s := range p.idle {
		unix.Close(s.fd)
	}
	p.idle = nil
}

// Route implements Namespace.
func (n *namespace) Route(q RouteQuery) (Route, error) {
	if !q.Dst.IsValid() {
		return Route{}, n.opError("look up route", "", unix.EINVAL)
	}
	s, err := n.routeSocket()
	if err != nil {
		return Route{}, n.opError("look up route", q.Dst.String(), err)
	}
	r, err := s.lookup(q)
	if err == nil && q.Src.IsValid() && (r.Type == RouteUnreachable || r.Type == RouteBlackhole) {
		// That is also what a source says which is not the host's own, as of
		// a forwarded packet (ip_route_output_key_hash_rcu).
		q.Src = netip.Addr{}
		r, err = s.lookup(q)
	}
	errno, isErrno := errors.AsType[unix.Errno](err)
	n.routes.put(s, err != nil && (!isErrno || errno == unix.EAGAIN))
	if err != nil {
		return Route{}, n.opError("look up route", q.Dst.String(), err)
	}
	return r, nil
}

// lookup makes one lookup. An errno is the kernel's answer, except EAGAIN.
func (s *routeSocket) lookup(q RouteQuery) (Route, error) {
	s.seq++
	n := putRouteRequest(s.req[:], s.seq, q)
	if _, err := unix.Write(s.fd, s.req[:n]); err != nil {
		return Route{}, err
	}
	for {
		n, err := unix.Read(s.fd, s.rep[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return Route{}, err
		}
		r, seq, err := decodeRouteReply(s.rep[:n])
		if err == nil || seq == s.seq {
			return r, err
		}
		if seq == 0 {
			return Route{}, err
		}
		// The late answer to a request that was given up.
	}
}

const routeRequestMax = unix.SizeofNlMsghdr + unix.SizeofRtMsg + 2*(unix.SizeofRtAttr+16) + unix.SizeofRtAttr + 4

// putRouteRequest encodes a RTM_GETROUTE request and returns its size.
func putRouteRequest(b []byte, seq uint32, q RouteQuery) int {
	clear(b)
	bits := uint8(q.Dst.BitLen())
	rt := b[unix.SizeofNlMsghdr:]
	rt[0], rt[1], rt[3] = familyNumber(FamilyOf(q.Dst)), bits, q.TOS
	n := unix.SizeofNlMsghdr + unix.SizeofRtMsg
	n += putAddrAttr(b[n:], unix.RTA_DST, q.Dst)
	if q.Src.IsValid() && q.Src.BitLen() == q.Dst.BitLen() {
		rt[2] = bits
		n += putAddrAttr(b[n:], unix.RTA_SRC, q.Src)
	}
	if q.OIF != 0 {
		binary.NativeEndian.PutUint16(b[n:], unix.SizeofRtAttr+4)
		binary.NativeEndian.PutUint16(b[n+2:], unix.RTA_OIF)
		binary.NativeEndian.PutUint32(b[n+4:], uint32(q.OIF))
		n += unix.SizeofRtAttr + 4
	}
	binary.NativeEndian.PutUint32(b, uint32(n))
	binary.NativeEndian.PutUint16(b[4:], unix.RTM_GETROUTE)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(b[8:], seq)
	return n
}

func putAddrAttr(b []byte, typ uint16, a netip.Addr) int {
	n := unix.SizeofRtAttr + a.BitLen()/8
	binary.NativeEndian.PutUint16(b, uint16(n))
	binary.NativeEndian.PutUint16(b[2:], typ)
	if a.Is4() {
		v := a.As4()
		copy(b[4:], v[:])
	} else {
		v := a.As16()
		copy(b[4:], v[:])
	}
	return n
}

// decodeRouteReply decodes a RTM_NEWROUTE or an NLMSG_ERROR message. An
// unreachable destination is a Route; any other error of the kernel is
// returned as its errno. seq is that of the message, 0 when there is none.
func decodeRouteReply(b []byte) (r Route, seq uint32, err error) {
	if len(b) < unix.SizeofNlMsghdr {
		return Route{}, 0, errShort
	}
	size := int(binary.NativeEndian.Uint32(b))
	typ := binary.NativeEndian.Uint16(b[4:])
	seq = binary.NativeEndian.Uint32(b[8:])
	if size < unix.SizeofNlMsghdr || size > len(b) {
		return Route{}, 0, errShort
	}
	b = b[unix.SizeofNlMsghdr:size]
	switch typ {
	case unix.NLMSG_ERROR:
		if len(b) < 4 {
			return Route{}, seq, errShort
		}
		errno := unix.Errno(-int32(binary.NativeEndian.Uint32(b)))
		if t := typeOfErrno(errno); t != 0 {
			return Route{Type: t}, seq, nil
		}
		return Route{}, seq, errno
	case unix.RTM_NEWROUTE:
		r, err := decodeRoute(b)
		return r, seq, err
	}
	return Route{}, seq, unix.EPROTO
}

// typeOfErrno returns the route type that an errno of a lookup stands for
// (net/ipv4/fib_semantics.c, fib_props), or 0.
func typeOfErrno(errno unix.Errno) RouteType {
	switch errno {
	case unix.EHOSTUNREACH, unix.ENETUNREACH:
		return RouteUnreachable
	case unix.EACCES:
		return RouteProhibit
	case unix.EINVAL:
		return RouteBlackhole
	}
	return 0
}

// decodeRoute decodes struct rtmsg and its attributes.
func decodeRoute(b []byte) (Route, error) {
	if len(b) < unix.SizeofRtMsg {
		return Route{}, errShort
	}
	r := Route{Type: RouteType(b[7])}
	for b = b[unix.SizeofRtMsg:]; ; {
		typ, data, rest, ok := nextAttr(b)
		if !ok {
			break
		}
		b = rest
		switch typ {
		case unix.RTA_OIF:
			if len(data) >= 4 {
				r.OIF = int(int32(binary.NativeEndian.Uint32(data)))
			}
		case unix.RTA_GATEWAY:
			r.Gateway, _ = netip.AddrFromSlice(data)
		case unix.RTA_VIA: // struct rtvia: family, address
			if len(data) > 2 {
				r.Gateway, _ = netip.AddrFromSlice(data[2:])
			}
		case unix.RTA_PREFSRC:
			r.PrefSrc, _ = netip.AddrFromSlice(data)
		case unix.RTA_METRICS:
			r.MTU = routeMTU(data)
		}
	}
	// The kernel's unspecified next hop is none.
	if r.Gateway.IsValid() && r.Gateway.IsUnspecified() {
		r.Gateway = netip.Addr{}
	}
	return r, nil
}

// routeMTU finds RTAX_MTU in the metrics of a route.
func routeMTU(b []byte) int {
	for {
		typ, data, rest, ok := nextAttr(b)
		if !ok {
			return 0
		}
		if typ == unix.RTAX_MTU && len(data) >= 4 {
			return int(binary.NativeEndian.Uint32(data))
		}
		b = rest
	}
}

// nextAttr splits the first attribute off, without allocating. ok is false at
// the end, and for an attribute that runs past it.
func nextAttr(b []byte) (typ uint16, data, rest []byte, ok bool) {
	if len(b) < unix.SizeofRtAttr {
		return 0, nil, nil, false
	}
	n := int(binary.NativeEndian.Uint16(b))
	if n < unix.SizeofRtAttr || n > len(b) {
		return 0, nil, nil, false
	}
	typ = binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
	aligned := min((n+3)&^3, len(b))
	return typ, b[unix.SizeofRtAttr:n], b[aligned:], true
}
