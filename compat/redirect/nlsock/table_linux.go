package nlsock

import (
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ipoib/compat/redirect/filter"
	"ipoib/compat/redirect/tracee"
	"ipoib/compat/redirect/trap"
	"ipoib/compat/redirect/upstream"
	"ipoib/nl"
)

// Table has the redirected sockets of all programs under one supervisor.
type Table struct {
	client *upstream.Client
	fds    filter.Range
	log    *slog.Logger
	procs  processes

	// installing is held while a free descriptor is looked for and used.
	installing sync.Mutex

	mu      sync.Mutex
	sockets map[uint64]*Socket // by SO_COOKIE; guarded by mu
	worlds  map[uint64]*world  // by SO_NETNS_COOKIE; guarded by mu
}

// NewTable returns an empty table. Descriptors are taken from fds.
func NewTable(client *upstream.Client, fds filter.Range, log *slog.Logger) *Table {
	return &Table{
		client: client, fds: fds, log: log,
		sockets: make(map[uint64]*Socket), worlds: make(map[uint64]*world),
	}
}

// place is where a socket was seen.
type place struct{ tid, fd int }

// Socket is a redirected socket.
type Socket struct {
	table  *Table
	cookie uint64
	ino    uint64
	proto  int
	world  *world
	// made is when the entry was made: the descriptor follows.
	made time.Time

	// mu serializes receives and guards what follows.
	mu sync.Mutex
	// stash is what is next to be received, pending what becomes so when its
	// ticket is reached.
	stash   []datagram
	pending []pending
	// tickets is how many are in the kernel's queue, issued how many there
	// were.
	tickets, issued uint32
	patch           patchState

	// checked is when the socket's groups were looked at last, in nanoseconds.
	checked atomic.Int64

	placesMu sync.Mutex
	places   []place // the last first; guarded by placesMu
}

// maxPlaces bounds the places that are remembered of a socket.
const maxPlaces = 4

func (s *Socket) seen(p place) {
	s.placesMu.Lock()
	defer s.placesMu.Unlock()
	if slices.Contains(s.places, p) {
		return
	}
	s.places = append([]place{p}, s.places...)
	s.places = s.places[:min(len(s.places), maxPlaces)]
}

// lock takes s.mu for a call. Who has it may wait for the service, which may
// wait for another call.
func (s *Socket) lock(tr *trap.Trap) {
	if !s.mu.TryLock() {
		tr.Yield()
		s.mu.Lock()
	}
}

// checkInterval is how often the groups of a socket are looked at that is only
// polled.
const checkInterval = 20 * time.Millisecond

// due reports whether the groups are to be looked at again.
func (s *Socket) due() bool {
	now := time.Now().UnixNano()
	last := s.checked.Load()
	return now-last > int64(checkInterval) && s.checked.CompareAndSwap(last, now)
}

// subscribe follows the service's events for the socket, of which fd is a
// duplicate, if it has joined their group.
func (s *Socket) subscribe(fd int) {
	if w := s.world; !w.following(s.proto) && member(fd, w.group(s.proto)) {
		w.subscribe(s.proto)
	}
}

// reach returns a duplicate of the socket from wherever it still is.
func (s *Socket) reach() (int, error) {
	s.placesMu.Lock()
	places := append([]place(nil), s.places...)
	s.placesMu.Unlock()
	for _, p := range places {
		if !s.at(p) {
			continue
		}
		fd, err := tracee.DupOf(p.tid, p.fd)
		if err != nil {
			continue
		}
		if c, err := cookie(fd); err == nil && c == s.cookie {
			return fd, nil
		}
		_ = unix.Close(fd)
	}
	return -1, os.ErrClosed
}

// at reports whether the socket is at a place, without a duplicate of what is
// there: that may be another socket, which its program is about to close.
func (s *Socket) at(p place) bool {
	return s.ino != 0 && tracee.SocketInode(p.tid, p.fd) == s.ino
}

// alive reports whether the socket is where it was seen.
func (s *Socket) alive() bool {
	s.placesMu.Lock()
	defer s.placesMu.Unlock()
	return slices.ContainsFunc(s.places, s.at)
}

// inode is the number of a socket's inode, 0 if it cannot be told.
func inode(fd int) uint64 {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0
	}
	return st.Ino
}

func cookie(fd int) (uint64, error) {
	return unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
}

// Create answers socket(2). Where no service runs, or the program is where the
// supervisor cannot follow, the program gets a socket of its own.
func (t *Table) Create(tr *trap.Trap) error {
	typ, proto := int(int32(tr.Args[1])), int(int32(tr.Args[2]))
	w, err := t.worldOf(tr)
	if err != nil || !w.Running() {
		return tr.Continue()
	}
	var fd int
	err = w.Inside(func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, typ|unix.SOCK_CLOEXEC, proto)
		return err
	})
	if err != nil {
		return tr.Continue() // and have it fail
	}
	s, err := t.register(fd, proto, w)
	n := -1
	if err == nil {
		n, err = t.install(tr, fd, 0, typ&unix.SOCK_CLOEXEC != 0)
	}
	_ = unix.Close(fd)
	if err != nil {
		t.log.Debug("a netlink socket is not redirected", "tid", tr.TID, "err", err)
		return tr.Continue()
	}
	s.seen(place{tr.TID, n})
	if st, err := tracee.ReadStatus(tr.TID); err == nil && st.TGID != tr.TID {
		s.seen(place{st.TGID, n})
	}
	time.AfterFunc(settle, func() { t.guard("follow", s.follow) })
	return tr.Return(n)
}

// settle is the time after which a socket that only waits for events is found
// out to have joined a group.
const settle = 300 * time.Millisecond

// errFull is returned when no descriptor of the range is free.
var errFull = errors.New("nlsock: no free descriptor")

// install puts fd at a free number of the range, not below low.
func (t *Table) install(tr *trap.Trap, fd, low int, cloexec bool) (int, error) {
	t.installing.Lock()
	defer t.installing.Unlock()
	for n := max(t.fds.Lo, low); n < t.fds.Hi; n++ {
		if tr.Thread.HasFD(n) {
			continue
		}
		return n, tr.Install(fd, n, cloexec)
	}
	return -1, errFull
}

// register makes the entry of a socket.
func (t *Table) register(fd, proto int, w *world) (*Socket, error) {
	c, err := cookie(fd)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.sockets[c]; s != nil {
		return s, nil
	}
	s := &Socket{table: t, cookie: c, ino: inode(fd), proto: proto, world: w, made: time.Now()}
	s.patch.init(s)
	t.sockets[c] = s
	w.sockets++
	return s, nil
}

// Lookup returns the redirected socket that fd, a duplicate, is; nil if it is
// none.
func (t *Table) Lookup(tr *trap.Trap, fd, number int) *Socket {
	c, err := cookie(fd)
	if err != nil {
		return nil
	}
	t.mu.Lock()
	s := t.sockets[c]
	t.mu.Unlock()
	if s == nil {
		s = t.adopt(tr, fd)
	}
	if s != nil {
		s.seen(place{tr.TID, number})
	}
	return s
}

// adopt takes over a netlink socket of the range that is not known: one that
// another supervisor of the same program made.
func (t *Table) adopt(tr *trap.Trap, fd int) *Socket {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || domain != unix.AF_NETLINK {
		return nil
	}
	proto, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil || proto != nl.ProtoRoute && proto != nl.ProtoGeneric {
		return nil
	}
	w, err := t.worldOfSocket(tr, fd)
	if err != nil {
		return nil
	}
	s, err := t.register(fd, proto, w)
	if err != nil {
		return nil
	}
	return s
}

// Dup answers dup(2) and the duplicating commands of fcntl(2): the new
// descriptor has to be of the range as well.
func (t *Table) Dup(tr *trap.Trap, low int, cloexec bool) error {
	fd, err := tr.Thread.Dup(tr.FD(0))
	if err != nil {
		return tr.Continue()
	}
	s := t.Lookup(tr, fd, tr.FD(0))
	if s == nil {
		_ = unix.Close(fd)
		return tr.Continue()
	}
	n, err := t.install(tr, fd, low, cloexec)
	_ = unix.Close(fd)
	if err != nil {
		return tr.Continue()
	}
	s.seen(place{tr.TID, n})
	return tr.Return(n)
}

// Reap forgets sockets that are closed, and worlds that nobody uses.
func (t *Table) Reap() { t.guard("reap", t.reap) }

func (t *Table) reap() {
	t.mu.Lock()
	list := make([]*Socket, 0, len(t.sockets))
	for _, s := range t.sockets {
		list = append(list, s)
	}
	t.mu.Unlock()
	for _, s := range list {
		if time.Since(s.made) < idleTime || s.alive() {
			continue
		}
		t.mu.Lock()
		if t.sockets[s.cookie] == s {
			delete(t.sockets, s.cookie)
			s.world.sockets--
		}
		t.mu.Unlock()
	}
	t.reapWorlds()
	t.procs.reap()
}
