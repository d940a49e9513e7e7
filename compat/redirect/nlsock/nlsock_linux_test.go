package nlsock

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ipoib/compat/redirect/filter"
	"ipoib/compat/redirect/internal/redirecttest"
	"ipoib/compat/redirect/notify"
	"ipoib/compat/redirect/tracee"
	"ipoib/compat/redirect/trap"
	"ipoib/compat/redirect/upstream"
	"ipoib/compat/redirect/wire"
	"ipoib/nl"
	"ipoib/nl/rtlink"
)

// newSocket returns the entry of a real netlink socket, without a service.
func newSocket(t *testing.T) (*Socket, int) {
	t.Helper()
	return newSocketOf(t, t.TempDir()+"/none.sock", 0)
}

// newSocketOf is newSocket with a service that may take some time to answer.
func newSocketOf(t *testing.T, path string, timeout time.Duration) (*Socket, int) {
	t.Helper()
	client, err := upstream.NewClient(path)
	if err != nil {
		t.Fatal(err)
	}
	client.Timeout = timeout
	t.Cleanup(func() { _ = client.Close() })
	table := NewTable(client, filter.Range{Lo: 960, Hi: 1024}, slog.New(slog.DiscardHandler))
	ns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	w, err := table.worldIn(ns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	s, err := table.register(fd, unix.NETLINK_ROUTE, w)
	if err != nil {
		t.Fatal(err)
	}
	return s, fd
}

func readable(t *testing.T, fd int) bool {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, 0); err != nil {
		t.Fatal(err)
	}
	return fds[0].Revents&unix.POLLIN != 0
}

// ask sends the kernel a request that it acknowledges.
func ask(t *testing.T, fd int, seq uint32) {
	t.Helper()
	b := wire.Append(nil, netlink.Header{Type: netlink.Noop, Flags: netlink.Request | netlink.Acknowledge, Sequence: seq}, nil)
	if err := sendKernel(fd, b); err != nil {
		t.Fatal(err)
	}
}

func own(seq uint32) datagram {
	return datagram{data: wire.Append(nil, netlink.Header{Type: 99, Sequence: seq}, nil), own: true}
}

// sequence is the sequence number of the next datagram, 0 when there is none.
func (s *Socket) sequence(t *testing.T, fd int) uint32 {
	t.Helper()
	d := s.next(fd, 4096)
	if d.err == unix.EAGAIN {
		return 0
	}
	if d.err != 0 {
		t.Fatal(d.err)
	}
	return wire.Split(d.data)[0].Sequence
}

// What is stashed is received between what the kernel queued before and after
// it, and makes the socket readable.
func TestOrder(t *testing.T) {
	s, fd := newSocket(t)
	ask(t, fd, 1)
	s.add(fd, os.Getpid(), own(2), own(3))
	ask(t, fd, 4)
	s.add(fd, os.Getpid(), own(5))
	for want := uint32(1); want <= 5; want++ {
		if !readable(t, fd) {
			t.Fatalf("not readable before %d", want)
		}
		if got := s.sequence(t, fd); got != want {
			t.Fatalf("%d, not %d", got, want)
		}
		s.show(fd, 0)
	}
	if readable(t, fd) {
		if got := s.sequence(t, fd); got != 0 {
			t.Errorf("one more: %d", got)
		}
	}
	if readable(t, fd) || len(s.stash)+len(s.pending) != 0 || s.tickets != 0 {
		t.Errorf("left: %d stashed, %d pending, %d tickets", len(s.stash), len(s.pending), s.tickets)
	}
	if name, err := unix.Getsockname(fd); err != nil || int(name.(*unix.SockaddrNetlink).Pid) != os.Getpid() {
		t.Errorf("bound to %v, %v", name, err)
	}
}

// A program that does not read is told of what it lost.
func TestFull(t *testing.T) {
	s, fd := newSocket(t)
	for i := range maxStash + 10 {
		s.add(fd, 0, own(uint32(i+1)))
	}
	n, lost := 0, false
	for {
		d := s.next(fd, 4096)
		if d.err == unix.EAGAIN {
			break
		}
		if d.err == unix.ENOBUFS {
			lost = true
			continue
		}
		n++
	}
	if !lost || n > maxStash || n < maxStash/2 {
		t.Errorf("%d datagrams, loss told: %v", n, lost)
	}
}

func TestCutAndUndo(t *testing.T) {
	s, _ := newSocket(t)
	var b []byte
	for i := range uint32(3) {
		b = wire.Append(b, netlink.Header{Type: 99, Sequence: i}, make([]byte, 24))
	}
	whole := datagram{data: b, rewritten: true}
	d := s.cut(whole, 90)
	if len(d.data) != 80 || len(s.stash) != 1 || len(s.stash[0].data) != 40 {
		t.Fatalf("%d bytes and %d stashed", len(d.data), len(s.stash))
	}
	s.undo(whole, d)
	if len(s.stash) != 1 || len(s.stash[0].data) != 120 {
		t.Errorf("after undo: %d stashed", len(s.stash))
	}
}

// Events that say what was told already are not delivered.
func TestWanted(t *testing.T) {
	s, _ := newSocket(t)
	event := func(typ netlink.HeaderType, l *rtlink.Link) *datagram {
		return &datagram{data: wire.Append(nil, netlink.Header{Type: typ}, linkBody(l)), own: true, group: linkGroup}
	}
	l := &rtlink.Link{Index: 5, Name: "ib0", Stats64: &rtlink.Stats{RxPackets: 1}}
	if !s.patch.wanted(event(rtlink.NewLink, l)) {
		t.Error("the first")
	}
	l.Stats64, l.Change = &rtlink.Stats{RxPackets: 9}, 1
	if s.patch.wanted(event(rtlink.NewLink, l)) {
		t.Error("the same with other counters")
	}
	l.Name = "ib1"
	if !s.patch.wanted(event(rtlink.NewLink, l)) {
		t.Error("another name")
	}
	if !s.patch.wanted(event(rtlink.DelLink, l)) || s.patch.wanted(event(rtlink.DelLink, l)) {
		t.Error("the end, once")
	}
	if s.patch.wanted(event(rtlink.NewLink, l)) {
		t.Error("news of a link that is gone")
	}
	d := event(rtlink.NewLink, l)
	d.group = 0
	if !s.patch.wanted(d) {
		t.Error("an answer")
	}
}

// While the kernel's events are ahead of the service's, these bring the state as
// of now, so that the last that is told is the last that there was.
func TestLatest(t *testing.T) {
	s, _ := newSocket(t)
	vf := uint32(0)
	service := &rtlink.Link{Index: 5, Name: "ib0", NumVF: &vf, Other: []rtlink.Raw{{Type: rtlink.AttrVFInfoList}}}
	s.patch.link = func(int32) []byte {
		if service == nil {
			return nil
		}
		return linkBody(service)
	}
	alias := func(a string) { service.Alias = a }
	told := func(l rtlink.Link) string {
		d := &datagram{data: wire.Append(nil, netlink.Header{Type: rtlink.NewLink}, linkBody(&l)), own: true, group: linkGroup}
		if !s.patch.wanted(d) {
			return "nothing"
		}
		got, err := rtlink.Decode(wire.Split(d.data)[0].Payload())
		if err != nil || got.Change != l.Change {
			t.Errorf("told %+v, %v", got, err)
		}
		return got.Alias
	}
	event := func(a string) rtlink.Link { return rtlink.Link{Index: 5, Name: "ib0", Alias: a, Change: 1} }
	alias("one")
	view{s}.Told(5, linkBody(service)) // an event of the kernel
	for _, tt := range []struct{ now, event, want string }{
		{"two", "two", "two"},     // news
		{"two", "two", "nothing"}, // that is known now
	} {
		alias(tt.now)
		if got := told(event(tt.event)); got != tt.want {
			t.Errorf("%+v: told %s", tt, got)
		}
	}
	alias("three")
	view{s}.Told(5, linkBody(service))
	for _, tt := range []struct{ now, event, want string }{
		{"three", "old", "nothing"}, // of before what the kernel told
		{"four", "old", "four"},     // and something has come meanwhile
		{"four", "four", "nothing"},
	} {
		alias(tt.now)
		if got := told(event(tt.event)); got != tt.want {
			t.Errorf("%+v: told %s", tt, got)
		}
	}
	alias("five")
	view{s}.Told(5, linkBody(service))
	service = nil
	if got := told(event("six")); got != "six" {
		t.Errorf("before the end: told %s", got)
	}
}

func linkBody(l *rtlink.Link) []byte { return wire.Split(message(l))[0].Payload() }

func TestSignalled(t *testing.T) {
	st, err := tracee.ReadStatus(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	other := st.TGID + 1 // some thread that is not the main one
	for _, tt := range []struct {
		name string
		tid  int
		st   tracee.Status
		want bool
	}{
		{"nothing", other, tracee.Status{Threads: 1, TGID: st.TGID}, false},
		{"for the thread", other, tracee.Status{Threads: 3, TGID: st.TGID, Private: 2}, true},
		{"blocked", other, tracee.Status{Threads: 1, TGID: st.TGID, Private: 2, Shared: 2, Blocked: 2}, false},
		{"for the process, one thread", other, tracee.Status{Threads: 1, TGID: st.TGID, Shared: 2}, true},
		{"for the process, main thread", st.TGID, tracee.Status{Threads: 3, TGID: st.TGID, Shared: 2}, true},
		{"for the process, another thread", other, tracee.Status{Threads: 3, TGID: st.TGID, Shared: 2}, false},
	} {
		w := &waiter{tr: &trap.Trap{Call: notify.Call{TID: tt.tid}}}
		if got := w.signalled(&tt.st); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// The answers of a program that is asked for features of the service's
// interfaces first, and of one that has read the kernel's names.
func TestProcesses(t *testing.T) {
	var p processes
	tid := os.Getpid()
	if p.features(tid, true) || !p.namesFromService(tid) {
		t.Error("features first")
	}
	if p.features(tid, false) || p.namesFromService(tid) {
		t.Error("features of another interface")
	}
	if !p.features(tid, true) || p.namesFromService(tid) {
		t.Error("after the kernel's names")
	}
	p.proc[1<<30] = new(process)
	p.reap()
	if len(p.proc) != 1 {
		t.Errorf("%d processes", len(p.proc))
	}
}

func TestControl(t *testing.T) {
	_, fd := newSocket(t)
	if b := ownControl(fd, 1); len(b) != 0 {
		t.Errorf("%d bytes", len(b))
	}
	for opt, level := range map[int]int{unix.NETLINK_PKTINFO: unix.SOL_NETLINK, unix.SO_PASSCRED: unix.SOL_SOCKET} {
		if err := unix.SetsockoptInt(fd, level, opt, 1); err != nil {
			t.Fatal(err)
		}
	}
	ms, err := unix.ParseSocketControlMessage(ownControl(fd, 7))
	if err != nil || len(ms) != 2 {
		t.Fatalf("%d messages, %v", len(ms), err)
	}
	if native.Uint32(ms[0].Data) != 7 {
		t.Errorf("group %d", native.Uint32(ms[0].Data))
	}
	if cred, err := unix.ParseUnixCredentials(&ms[1]); err != nil || cred.Pid != 0 {
		t.Errorf("%+v, %v", cred, err)
	}
}

func TestMember(t *testing.T) {
	_, fd := newSocket(t)
	if member(fd, 1) || member(fd, 0) || member(fd, 5000) {
		t.Error("member of nothing")
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, 33); err != nil {
		t.Fatal(err)
	}
	if !member(fd, 33) || member(fd, 32) {
		t.Error("group 33")
	}
}

func message(l *rtlink.Link) []byte {
	var e nl.Encoder
	l.Append(&e)
	return wire.Append(nil, netlink.Header{Type: rtlink.NewLink}, e.Bytes())
}

// What concerns links is refused while the service does not answer: the kernel
// would tell of TUNs.
func TestNoAnswer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	silent, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	s, fd := newSocketOf(t, path, time.Millisecond)
	tr, _ := redirecttest.Call(t, unix.SYS_SENDTO)
	snd := &sender{s: s, tr: tr, fd: fd, port: 7}
	request := func(typ netlink.HeaderType, flags netlink.HeaderFlags, index byte) wire.Message {
		body := make([]byte, rtlink.HeaderLen) // struct ndmsg is shorter and begins alike
		body[0], body[4] = unix.AF_INET, index
		b := wire.Append(nil, netlink.Header{Type: typ, Flags: netlink.Request | flags, Sequence: 3}, body)
		return wire.Split(b)[0]
	}
	for name, m := range map[string]wire.Message{
		"links":       request(rtlink.GetLink, netlink.Dump, 0),
		"a change":    request(rtlink.SetLink, 0, 5),
		"neighbours":  request(wire.GetNeigh, netlink.Dump, 0),
		"a neighbour": request(wire.DelNeigh, 0, 5),
	} {
		do := snd.own(&m)
		if do == nil {
			t.Errorf("%s: left to the kernel", name)
			continue
		}
		ds := do()
		if len(ds) != 1 {
			t.Errorf("%s: %d datagrams", name, len(ds))
			continue
		}
		if a := wire.Split(ds[0])[0]; a.Sequence != 3 || a.PID != 7 || unix.Errno(a.Errno()) != unix.ETIMEDOUT {
			t.Errorf("%s: %+v, errno %d", name, a.Header, a.Errno())
		}
	}
	// A request about nothing of the service's is the kernel's.
	if m := request(rtlink.GetLink, 0, 1); snd.own(&m) != nil {
		t.Error("a request for one link is answered")
	}
}
