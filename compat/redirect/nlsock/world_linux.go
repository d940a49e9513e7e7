package nlsock

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ipoib/compat/redirect/tracee"
	"ipoib/compat/redirect/trap"
	"ipoib/compat/redirect/upstream"
	"ipoib/nl"
)

// world is a network namespace with its sockets.
type world struct {
	*upstream.World
	table  *Table
	cookie uint64
	file   os.FileInfo
	// sockets counts those in the table, used is when one was asked for last;
	// guarded by table.mu.
	sockets int
	used    time.Time

	mu sync.Mutex
	// stop ends a subscription, by protocol; guarded by mu. It is nil while
	// one is being made.
	stop map[int]func()
}

// worldOf returns the world of the calling thread's network namespace.
func (t *Table) worldOf(tr *trap.Trap) (*world, error) {
	ns, err := tr.Thread.OpenNetNS()
	if err != nil {
		return nil, err
	}
	if !tr.Valid() {
		_ = ns.Close()
		return nil, tracee.ErrGone
	}
	return t.worldIn(ns)
}

// worldOfSocket returns the world that a socket belongs to.
func (t *Table) worldOfSocket(tr *trap.Trap, fd int) (*world, error) {
	c, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	}
	t.mu.Lock()
	w := t.worlds[c]
	if w != nil {
		w.used = time.Now()
	}
	t.mu.Unlock()
	if w != nil {
		return w, nil
	}
	if ns, err := unix.IoctlRetInt(fd, unix.SIOCGSKNS); err == nil {
		return t.worldIn(os.NewFile(uintptr(ns), "netns"))
	}
	// Without CAP_NET_ADMIN the namespace of the thread has to do, if it is
	// the one.
	if w, err = t.worldOf(tr); err == nil && w.cookie != c {
		return nil, errors.New("nlsock: the socket is of another network namespace")
	}
	return w, err
}

// World returns the service as the network namespace of a socket sees it.
func (t *Table) World(tr *trap.Trap, fd int) (*upstream.World, error) {
	w, err := t.worldOfSocket(tr, fd)
	if err != nil {
		return nil, err
	}
	return w.World, nil
}

// worldIn returns the world of a namespace and takes over ns.
func (t *Table) worldIn(ns *os.File) (*world, error) {
	fi, err := ns.Stat()
	if err != nil {
		_ = ns.Close()
		return nil, err
	}
	if w := t.known(fi); w != nil {
		_ = ns.Close()
		return w, nil
	}
	same := tracee.SameNetNS(ns, t.client.Own())
	up := t.client.World(ns, same)
	var c uint64
	err = up.Inside(func() error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		c, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		return err
	})
	if err != nil {
		up.Close()
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.worlds[c]; w != nil {
		w.used = time.Now()
		_ = ns.Close()
		return w, nil
	}
	w := &world{World: up, table: t, cookie: c, file: fi, used: time.Now(), stop: make(map[int]func())}
	t.worlds[c] = w
	return w, nil
}

// known finds a world by its namespace. A namespace that a world has open
// keeps its inode.
func (t *Table) known(fi os.FileInfo) *world {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.worlds {
		if os.SameFile(w.file, fi) {
			w.used = time.Now()
			return w
		}
	}
	return nil
}

// idleTime is how long a namespace without sockets is kept.
const idleTime = 2 * time.Second

// reapWorlds lets go of namespaces, which live for as long as somebody has a
// descriptor of them.
func (t *Table) reapWorlds() {
	t.mu.Lock()
	var idle []*world
	for c, w := range t.worlds {
		if w.sockets == 0 && time.Since(w.used) > idleTime {
			delete(t.worlds, c)
			idle = append(idle, w)
		}
	}
	t.mu.Unlock()
	for _, w := range idle {
		w.mu.Lock()
		for _, stop := range w.stop {
			if stop != nil {
				stop()
			}
		}
		w.mu.Unlock()
		w.Close()
	}
}

// following reports whether the service's events of a protocol are followed.
func (w *world) following(proto int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.stop[proto]
	return ok
}

// subscribe follows the service's events of a protocol, for the sockets of
// this world.
func (w *world) subscribe(proto int) {
	w.mu.Lock()
	if _, ok := w.stop[proto]; ok {
		w.mu.Unlock()
		return
	}
	w.stop[proto] = nil
	w.mu.Unlock()
	stop, ended, err := w.Subscribe(proto, func(b []byte) {
		w.table.guard("event", func() { w.event(proto, b) })
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		delete(w.stop, proto)
		return // tried again with the next call of the program
	}
	w.stop[proto] = stop
	go func() {
		<-ended
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.stop, proto)
	}()
}

// event hands a datagram of events to the sockets that have joined the group.
func (w *world) event(proto int, b []byte) {
	t := w.table
	t.mu.Lock()
	var list []*Socket
	for _, s := range t.sockets {
		if s.world == w && s.proto == proto {
			list = append(list, s)
		}
	}
	t.mu.Unlock()
	for _, s := range list {
		s.event(b)
	}
}

// group is the kernel's number of the group whose events the service has.
func (w *world) group(proto int) uint32 {
	if proto == nl.ProtoRoute {
		return linkGroup
	}
	return w.table.client.Kernel().Monitor
}

const linkGroup = 1 // RTNLGRP_LINK
