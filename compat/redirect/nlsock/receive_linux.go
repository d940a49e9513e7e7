package nlsock

import (
	"time"

	"golang.org/x/sys/unix"

	"ipoib/compat/redirect/notify"
	"ipoib/compat/redirect/tracee"
	"ipoib/compat/redirect/trap"
	"ipoib/compat/redirect/wire"
)

// receiver is a receiving call.
type receiver struct {
	s     *Socket
	tr    *trap.Trap
	fd    int // a duplicate
	flags int
	iov   []tracee.Iovec
	// put writes a datagram to the program and returns the call's result.
	put func(r *receiver, d *datagram, n int) (int, error)
	// more, if set, is called after the first datagram.
	more func(r *receiver, result int) int
}

// Receive answers a receiving call. It never has the kernel execute it: only
// here is it known what to receive.
func (t *Table) Receive(tr *trap.Trap) error {
	fd, err := tr.Thread.Dup(tr.FD(0))
	if err != nil {
		return tr.Continue() // no such descriptor
	}
	s := t.Lookup(tr, fd, tr.FD(0))
	if s == nil {
		_ = unix.Close(fd)
		return tr.Continue()
	}
	r := &receiver{s: s, tr: tr, fd: fd}
	defer r.close()
	if err := r.parse(); err != nil {
		r.close()
		return tr.Fail(errnoOf(err))
	}
	if r.flags&unix.MSG_OOB != 0 {
		r.close()
		return tr.Fail(unix.EOPNOTSUPP)
	}
	if s.due() {
		s.subscribe(fd)
	}
	return r.run()
}

func (r *receiver) close() {
	if r.fd >= 0 {
		_ = unix.Close(r.fd)
		r.fd = -1
	}
}

// parse reads the arguments.
func (r *receiver) parse() (err error) {
	t, a := r.tr.Thread, &r.tr.Args
	switch r.tr.Nr {
	case unix.SYS_READ:
		r.iov = []tracee.Iovec{{Base: a[1], Len: a[2]}}
		r.put = putPlain
	case unix.SYS_READV:
		r.iov, err = t.ReadIovecs(a[1], a[2])
		r.put = putPlain
	case unix.SYS_RECVFROM:
		r.iov = []tracee.Iovec{{Base: a[1], Len: a[2]}}
		r.flags = int(int32(a[3]))
		r.put = putRecvfrom
	case unix.SYS_RECVMSG:
		r.flags = int(int32(a[2]))
		err = r.msghdr(a[1])
	case unix.SYS_RECVMMSG:
		return r.mmsg(a[1], int(min(a[2], 1024)), int(int32(a[3])))
	}
	return err
}

func (r *receiver) msghdr(addr uint64) error {
	m, err := r.tr.Thread.ReadMsghdr(addr)
	if err != nil {
		return err
	}
	r.iov = m.Iov
	r.put = func(r *receiver, d *datagram, n int) (int, error) { return putMsghdr(r, &m, d, n) }
	return nil
}

// tick is how often a call that waits is looked after.
const tick = 50 * time.Millisecond

// run waits for a datagram and delivers it.
func (r *receiver) run() error {
	done, err := r.try()
	if done {
		return err
	}
	wait := r.flags&unix.MSG_DONTWAIT == 0
	if fl, err := unix.FcntlInt(uintptr(r.fd), unix.F_GETFL, 0); wait && err == nil && fl&unix.O_NONBLOCK != 0 {
		wait = false
	}
	if !wait {
		r.close()
		return r.tr.Fail(unix.EAGAIN)
	}
	var deadline time.Time
	timed := false
	if tv, err := unix.GetsockoptTimeval(r.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO); err == nil && tv.Nano() > 0 {
		deadline, timed = time.Now().Add(time.Duration(tv.Nano())), true
	}
	r.tr.Yield()
	r.s.subscribe(r.fd)
	w := &waiter{tr: r.tr, timed: timed}
	for {
		if done, err := r.try(); done {
			return err
		}
		left := tick
		if timed {
			left = min(left, time.Until(deadline))
		}
		if left <= 0 {
			r.close()
			return r.tr.Fail(unix.EAGAIN)
		}
		fds := []unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}}
		if n, perr := unix.Poll(fds, int(left.Milliseconds())+1); perr == nil && n > 0 {
			continue
		}
		switch verdict, ok := w.check(); {
		case !ok:
			r.close()
			return notify.ErrGone
		case verdict != 0:
			r.close()
			return r.tr.Fail(verdict)
		}
	}
}

// try delivers a datagram if there is one; done is set when the call was
// answered.
func (r *receiver) try() (done bool, err error) {
	s := r.s
	s.lock(r.tr)
	defer s.mu.Unlock()
	room := tracee.Total(r.iov)
	d := s.next(r.fd, room)
	switch {
	case d.err == unix.EAGAIN:
		return false, nil
	case d.err != 0:
		s.show(r.fd, nstgid(r.tr.TID))
		r.close()
		return true, r.tr.Fail(d.err)
	}
	whole := d
	peek := r.flags&unix.MSG_PEEK != 0
	if peek {
		s.back(d)
	} else if d.rewritten && room > 0 {
		d = s.cut(d, room)
	}
	n, err := r.tr.Thread.Scatter(r.iov, d.data[:min(len(d.data), room)])
	if err == nil {
		n, err = r.put(r, &d, n)
	}
	if err != nil {
		// What cannot be written is lost, as in the kernel.
		s.show(r.fd, nstgid(r.tr.TID))
		r.close()
		return true, r.tr.Fail(errnoOf(err))
	}
	if r.more != nil {
		n = r.more(r, n)
	}
	if len(s.stash) > 0 {
		s.show(r.fd, nstgid(r.tr.TID))
	}
	r.close()
	err = r.tr.Return(n)
	if err != nil && !peek && r.more == nil {
		s.undo(whole, d)
	}
	return true, err
}

// cut leaves in d what fits into a buffer of room bytes, and puts the rest in
// front of the stash.
func (s *Socket) cut(d datagram, room int) datagram {
	head, rest := wire.Cut(d.data, room)
	if rest == nil {
		return d
	}
	more := d
	more.data = rest
	s.back(more)
	d.data = head
	return d
}

// undo takes a delivery back: nobody waited for it any more, and another
// thread or process may.
func (s *Socket) undo(whole, given datagram) {
	if len(given.data) != len(whole.data) {
		s.stash = s.stash[1:]
	}
	s.back(whole)
	if fd, err := s.reach(); err == nil {
		_ = s.ticket(fd, 0)
		_ = unix.Close(fd)
	}
}

// msgTrunc is what a receiving call says of a datagram that was cut.
func (r *receiver) result(d *datagram, n int) (result int, flags int32) {
	if len(d.data) > n {
		flags |= unix.MSG_TRUNC
		if r.flags&unix.MSG_TRUNC != 0 {
			return len(d.data), flags
		}
	}
	return n, flags
}

func putPlain(_ *receiver, _ *datagram, n int) (int, error) { return n, nil }

// name is the sender's address: the kernel.
func (d *datagram) name() []byte {
	b := make([]byte, unix.SizeofSockaddrNetlink)
	native.PutUint16(b, unix.AF_NETLINK)
	native.PutUint32(b[8:], d.groups)
	return b
}

func putRecvfrom(r *receiver, d *datagram, n int) (int, error) {
	t, addr, lenp := r.tr.Thread, r.tr.Args[4], r.tr.Args[5]
	if addr != 0 && lenp != 0 {
		size, err := t.Uint32(lenp)
		if err != nil {
			return 0, err
		}
		if int32(size) < 0 {
			return 0, unix.EINVAL
		}
		name := d.name()
		if err := t.Write(addr, name[:min(int(size), len(name))]); err != nil {
			return 0, err
		}
		if err := t.Write(lenp, native.AppendUint32(nil, uint32(len(name)))); err != nil {
			return 0, err
		}
	}
	n, _ = r.result(d, n)
	return n, nil
}

func putMsghdr(r *receiver, m *tracee.Msghdr, d *datagram, n int) (int, error) {
	t := r.tr.Thread
	if m.Name != 0 {
		name := d.name()
		if err := t.Write(m.Name, name[:min(int(m.NameLen), len(name))]); err != nil {
			return 0, err
		}
		m.NameLen = uint64(len(name))
	}
	n, m.Flags = r.result(d, n)
	m.Flags |= int32(r.flags & unix.MSG_CMSG_CLOEXEC)
	control := d.controlFor(r.fd)
	if uint64(len(control)) > m.ControlLen || m.Control == 0 {
		if len(control) > 0 {
			m.Flags |= unix.MSG_CTRUNC
		}
		control = nil
	}
	if err := t.Write(m.Control, control); err != nil {
		return 0, err
	}
	m.ControlLen = uint64(len(control))
	return n, t.WriteBack(m)
}

// mmsg reads the arguments of recvmmsg(2). It waits for the first message and
// takes what is there after it.
func (r *receiver) mmsg(vec uint64, n, flags int) error {
	r.flags = flags &^ unix.MSG_WAITFORONE
	if n == 0 {
		return unix.EAGAIN
	}
	at := 0
	if err := r.msghdr(tracee.MmsgAddr(vec, 0)); err != nil {
		return err
	}
	one := r.put
	r.put = func(r *receiver, d *datagram, got int) (int, error) {
		got, err := one(r, d, got)
		if err != nil {
			return 0, err
		}
		at++
		return at, r.tr.Thread.WriteMmsgLen(tracee.MmsgAddr(vec, at-1), got)
	}
	r.more = func(r *receiver, result int) int {
		for at < n && r.flags&unix.MSG_PEEK == 0 {
			m, err := r.tr.Thread.ReadMsghdr(tracee.MmsgAddr(vec, at))
			if err != nil {
				break
			}
			room := tracee.Total(m.Iov)
			d := r.s.next(r.fd, room)
			if d.err != 0 {
				break
			}
			if d.rewritten && room > 0 {
				d = r.s.cut(d, room)
			}
			got, err := r.tr.Thread.Scatter(m.Iov, d.data[:min(len(d.data), room)])
			if err == nil {
				got, err = putMsghdr(r, &m, &d, got)
			}
			if err != nil || r.tr.Thread.WriteMmsgLen(tracee.MmsgAddr(vec, at), got) != nil {
				break
			}
			at++
		}
		return at
	}
	return nil
}

// controlFor returns the control messages of a datagram.
func (d *datagram) controlFor(fd int) []byte {
	if !d.own {
		return d.control
	}
	return ownControl(fd, d.group)
}
