package nlsock

import (
	"errors"

	"golang.org/x/sys/unix"

	"ipoib/compat/redirect/tracee"
	"ipoib/compat/redirect/trap"
	"ipoib/compat/redirect/upstream"
	"ipoib/compat/redirect/wire"
	"ipoib/nl"
)

// outgoing is one datagram that the program sends.
type outgoing struct {
	data []byte
	// toKernel is false for one that goes to another program.
	toKernel bool
}

// sender is a sending call.
type sender struct {
	s  *Socket
	tr *trap.Trap
	fd int // a duplicate
	// opts are read when they are needed.
	opts   *upstream.Options
	port   uint32
	nstgid int
}

// Send answers a sending call.
func (t *Table) Send(tr *trap.Trap) error {
	fd, err := tr.Thread.Dup(tr.FD(0))
	if err != nil {
		return tr.Continue()
	}
	s := t.Lookup(tr, fd, tr.FD(0))
	if s == nil {
		closeFD(fd)
		return tr.Continue()
	}
	snd := &sender{s: s, tr: tr, fd: fd}
	defer snd.close()
	if tr.Nr == unix.SYS_SENDMMSG {
		return snd.many()
	}
	out, err := readOutgoing(tr)
	if err != nil || !out.toKernel {
		snd.close()
		return tr.Continue() // the kernel says what is wrong
	}
	plan := snd.plan(out.data)
	if plan == nil {
		snd.close()
		return tr.Continue()
	}
	snd.execute(plan)
	snd.close()
	return tr.Return(len(out.data))
}

func (s *sender) close() {
	if s.fd >= 0 {
		closeFD(s.fd)
		s.fd = -1
	}
}

func closeFD(fd int) { _ = unix.Close(fd) }

// readOutgoing reads the datagram of a call that sends one.
func readOutgoing(tr *trap.Trap) (out outgoing, err error) {
	t, a := tr.Thread, &tr.Args
	switch tr.Nr {
	case unix.SYS_WRITE, unix.SYS_SENDTO:
		out.toKernel = true
		if tr.Nr == unix.SYS_SENDTO && a[4] != 0 {
			if out.toKernel, err = kernelAddress(t, a[4], a[5]); err != nil {
				return out, err
			}
		}
		out.data, err = t.Gather([]tracee.Iovec{{Base: a[1], Len: a[2]}})
	case unix.SYS_WRITEV:
		var iov []tracee.Iovec
		if iov, err = t.ReadIovecs(a[1], a[2]); err == nil {
			out.data, err = t.Gather(iov)
		}
		out.toKernel = true
	case unix.SYS_SENDMSG:
		return readMsg(t, a[1])
	}
	return out, err
}

func readMsg(t *tracee.Thread, addr uint64) (out outgoing, err error) {
	m, err := t.ReadMsghdr(addr)
	if err != nil {
		return out, err
	}
	out.toKernel = true
	if m.Name != 0 && m.NameLen > 0 {
		if out.toKernel, err = kernelAddress(t, m.Name, m.NameLen); err != nil {
			return out, err
		}
	}
	out.data, err = t.Gather(m.Iov)
	return out, err
}

// kernelAddress reports whether a struct sockaddr_nl is the kernel's.
func kernelAddress(t *tracee.Thread, addr, size uint64) (bool, error) {
	if size < unix.SizeofSockaddrNetlink {
		return false, unix.EINVAL
	}
	var b [unix.SizeofSockaddrNetlink]byte
	if err := t.Read(addr, b[:]); err != nil {
		return false, err
	}
	return native.Uint16(b[:]) == unix.AF_NETLINK && native.Uint32(b[4:]) == 0 && native.Uint32(b[8:]) == 0, nil
}

// many answers sendmmsg(2): as a whole by the kernel, or one after the other
// here.
func (s *sender) many() error {
	n := int(min(s.tr.Args[2], 1024))
	var outs []outgoing
	var plans [][]step
	own := false
	for i := range n {
		out, err := readMsg(s.tr.Thread, tracee.MmsgAddr(s.tr.Args[1], i))
		if err != nil || !out.toKernel {
			if !own {
				s.close()
				return s.tr.Continue()
			}
			break
		}
		plan := s.plan(out.data)
		own = own || plan != nil
		outs, plans = append(outs, out), append(plans, plan)
	}
	if !own {
		s.close()
		return s.tr.Continue()
	}
	for i, out := range outs {
		if plans[i] == nil {
			plans[i] = []step{{raw: out.data}}
		}
		s.execute(plans[i])
		if err := s.tr.Thread.WriteMmsgLen(tracee.MmsgAddr(s.tr.Args[1], i), len(out.data)); err != nil {
			break
		}
	}
	s.close()
	return s.tr.Return(len(outs))
}

// step is a part of a datagram: messages for the kernel, or one that the
// service answers.
type step struct {
	raw []byte
	do  func() [][]byte
}

// plan looks at a datagram. nil is the kernel's whole.
func (s *sender) plan(b []byte) (plan []step) {
	own := false
	for _, m := range wire.Split(b) {
		if do := s.own(&m); do != nil {
			own = true
			plan = append(plan, step{do: do})
			continue
		}
		plan = append(plan, step{raw: m.Raw})
	}
	if !own {
		return nil
	}
	return plan
}

// execute carries out a plan in order. What is for the kernel is sent from
// here then: with no more privileges than the program has.
func (s *sender) execute(plan []step) {
	s.prepare()
	for _, st := range plan {
		if st.do == nil {
			s.relay(st.raw)
			continue
		}
		var ds []datagram
		for _, b := range st.do() {
			ds = append(ds, datagram{data: b, own: true, rewritten: true})
		}
		s.s.lock(s.tr)
		s.s.add(s.fd, s.nstgid, ds...)
		s.s.mu.Unlock()
	}
}

// prepare finds out the port id, which answers carry.
func (s *sender) prepare() {
	if s.port != 0 {
		return
	}
	s.nstgid = nstgid(s.tr.TID)
	_ = autobind(s.fd, s.nstgid)
	if sa, err := unix.Getsockname(s.fd); err == nil {
		if name, ok := sa.(*unix.SockaddrNetlink); ok {
			s.port = name.Pid
		}
	}
}

// relay sends a message to the kernel for the program.
func (s *sender) relay(raw []byte) {
	err := withPrivilege(s.tr.Thread.Capabilities(), func() error { return sendKernel(s.fd, raw) })
	if errno, ok := errors.AsType[unix.Errno](err); ok && len(raw) >= nl.HeaderLen {
		s.s.lock(s.tr)
		defer s.s.mu.Unlock()
		s.s.add(s.fd, s.nstgid, datagram{data: wire.Ack(raw, s.port, int(errno), false), own: true, rewritten: true})
	}
}

// options reads what the socket has set, and what the program may.
func (s *sender) options() upstream.Options {
	if s.opts != nil {
		return *s.opts
	}
	on := func(opt int) bool {
		v, err := unix.GetsockoptInt(s.fd, unix.SOL_NETLINK, opt)
		return err == nil && v != 0
	}
	s.opts = &upstream.Options{
		ExtAck: on(unix.NETLINK_EXT_ACK), CapAck: on(unix.NETLINK_CAP_ACK),
		Strict:     on(unix.NETLINK_GET_STRICT_CHK),
		Privileged: s.tr.Thread.NetAdmin(int(s.s.world.NetNS().Fd())),
	}
	return *s.opts
}
