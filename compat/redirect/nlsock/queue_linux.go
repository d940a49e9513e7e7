package nlsock

import (
	"encoding/binary"
	"errors"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ipoib/compat/redirect/tracee"
	"ipoib/nl"
)

// datagram is what a receive returns.
type datagram struct {
	data []byte
	// groups is nl_groups of the sender's address; its port id is 0.
	groups uint32
	// control are control messages of the kernel.
	control []byte
	// err is returned in place of data.
	err unix.Errno
	// rewritten is set when data is not what the kernel queued.
	rewritten bool
	// group is the multicast group of a datagram that is not the kernel's, for
	// the control message; own is set for all of them.
	own   bool
	group uint32
}

// pending is a datagram that becomes readable with a ticket.
type pending struct {
	ticket uint32
	datagram
}

var native = binary.NativeEndian

// ticketPID marks tickets: the kernel returns the port id of a request's
// header as it is.
const ticketPID = 0x69506f49

// maxStash bounds what waits for a program that does not read, in datagrams;
// more is lost, and the program told with ENOBUFS, as the kernel would.
const maxStash = 4096

// add queues datagrams behind what the kernel has queued now. The caller holds
// s.mu; fd is a duplicate.
func (s *Socket) add(fd, nstgid int, ds ...datagram) {
	if len(ds) == 0 {
		return
	}
	id := s.issued + 1
	for _, d := range ds {
		if len(s.pending)+len(s.stash) >= maxStash {
			d = datagram{err: unix.ENOBUFS}
			if n := len(s.pending); n > 0 && s.pending[n-1].err != 0 {
				continue
			}
		}
		s.pending = append(s.pending, pending{id, d})
	}
	if err := s.ticket(fd, nstgid); err != nil {
		// The queue is full, and so readable.
		s.settle(^uint32(0))
	}
}

// ticket makes the socket readable.
func (s *Socket) ticket(fd, nstgid int) error {
	if err := autobind(fd, nstgid); err != nil {
		return err
	}
	b := make([]byte, nl.HeaderLen)
	native.PutUint32(b, nl.HeaderLen)
	native.PutUint16(b[4:], uint16(netlink.Noop))
	native.PutUint16(b[6:], uint16(netlink.Request|netlink.Acknowledge))
	native.PutUint32(b[8:], s.issued+1)
	native.PutUint32(b[12:], ticketPID)
	if err := sendKernel(fd, b); err != nil {
		return err
	}
	s.issued++
	s.tickets++
	return nil
}

// autobind gives a socket that has none the port id that the kernel would give
// it if the program sent: the number of the process. The kernel would take the
// supervisor's.
func autobind(fd, nstgid int) error {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	name, ok := sa.(*unix.SockaddrNetlink)
	if !ok {
		return unix.EINVAL
	}
	if name.Pid != 0 || nstgid == 0 {
		return nil
	}
	name.Pid = uint32(nstgid)
	if err := unix.Bind(fd, name); !errors.Is(err, unix.EADDRINUSE) {
		return err
	}
	return nil // the kernel finds a free one
}

// isTicket returns the number of the ticket that a datagram is.
func isTicket(b []byte) (uint32, bool) {
	if len(b) < 2*nl.HeaderLen+4 || nl.ParseHeader(b).Type != netlink.Error {
		return 0, false
	}
	h := nl.ParseHeader(b[nl.HeaderLen+4:])
	return h.Sequence, h.Type == netlink.Noop && h.PID == ticketPID
}

// settle moves what waits for tickets up to n to the stash.
func (s *Socket) settle(n uint32) {
	i := 0
	for i < len(s.pending) && s.pending[i].ticket <= n {
		if d := s.pending[i].datagram; s.patch.wanted(&d) {
			s.stash = append(s.stash, d)
		}
		i++
	}
	s.pending = append(s.pending[:0], s.pending[i:]...)
}

// drain empties the kernel's queue into the stash.
func (s *Socket) drain(fd, room int) {
	for range 2 * maxStash {
		d := fromKernel(fd, room)
		if d.err == unix.EAGAIN {
			break
		}
		if n, ok := isTicket(d.data); ok {
			s.settle(n)
			continue
		}
		if s.patch.rewrite(&d) {
			s.stash = append(s.stash, d)
		}
		if d.err != 0 && d.err != unix.ENOBUFS {
			break
		}
	}
	// A ticket that the kernel could not queue is not waited for.
	s.settle(^uint32(0))
	s.tickets = 0
}

// next takes the next datagram; its err is EAGAIN when there is none. room is
// the size of the program's buffer.
func (s *Socket) next(fd, room int) datagram {
	for len(s.stash) == 0 {
		if s.tickets > 0 || len(s.pending) > 0 {
			s.drain(fd, room)
			if len(s.stash) == 0 {
				return datagram{err: unix.EAGAIN}
			}
			break
		}
		d := fromKernel(fd, room)
		if d.err != 0 {
			return d
		}
		if _, ok := isTicket(d.data); !ok && s.patch.rewrite(&d) {
			return d
		}
	}
	if s.tickets > 0 || len(s.pending) > 0 {
		s.drain(fd, room)
	}
	d := s.stash[0]
	s.stash[0] = datagram{}
	if s.stash = s.stash[1:]; len(s.stash) == 0 {
		s.stash = nil
	}
	return d
}

// back puts a datagram in front again.
func (s *Socket) back(d datagram) { s.stash = append([]datagram{d}, s.stash...) }

// show makes the socket readable if there is something to read in the stash.
func (s *Socket) show(fd, nstgid int) {
	if len(s.stash) > 0 && s.tickets == 0 {
		_ = s.ticket(fd, nstgid)
	}
}

// maxReceive is the largest buffer that a dump is built for
// (af_netlink.c: max_recvmsg_len).
const maxReceive = 32 << 10

// fromKernel receives one datagram. It looks at its size with an empty buffer
// first, since the kernel builds the next part of a dump as large as the
// largest buffer that it has seen.
func fromKernel(fd, room int) datagram {
	n, _, _, _, err := unix.Recvmsg(fd, nil, nil, unix.MSG_PEEK|unix.MSG_TRUNC|unix.MSG_DONTWAIT)
	if err != nil {
		return datagram{err: errnoOf(err)}
	}
	b := make([]byte, max(n, min(room, maxReceive)))
	oob := make([]byte, 256)
	n, oobn, _, from, err := unix.Recvmsg(fd, b, oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return datagram{err: errnoOf(err)}
	}
	d := datagram{data: b[:n], control: oob[:oobn]}
	if name, ok := from.(*unix.SockaddrNetlink); ok {
		d.groups = name.Groups
	}
	return d
}

func errnoOf(err error) unix.Errno {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return errno
	}
	return unix.EIO
}

// nstgid is the number of the process as it sees it.
func nstgid(tid int) int {
	st, err := tracee.ReadStatus(tid)
	if err != nil {
		return 0
	}
	return st.NSTGID
}
