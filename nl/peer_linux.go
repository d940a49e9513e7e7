package nl

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// nsID identifies a namespace by its nsfs file.
type nsID struct{ dev, ino uint64 }

func fdID(fd int) (nsID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nsID{}, os.NewSyscallError("fstat", err)
	}
	return nsID{uint64(st.Dev), st.Ino}, nil
}

func pathID(path string) (nsID, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nsID{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return nsID{uint64(st.Dev), st.Ino}, nil
}

// NetNSOf returns the identity of the network namespace that f, an nsfs file
// such as /proc/self/ns/net, stands for.
func NetNSOf(f *os.File) (NetNS, error) {
	id, err := fdID(int(f.Fd()))
	return NetNS{id.dev, id.ino}, err
}

// selfUserNS is the service's own user namespace, the one that Capable judges.
var selfUserNS = sync.OnceValues(func() (nsID, error) { return pathID("/proc/self/ns/user") })

// unixPeer is the process that connected to the unix socket.
//
// The kernel lets a netlink request do what both the opener of the socket and
// the sender of the message may do (__netlink_ns_capable), so that neither a
// program that dropped its privileges keeps them through an open socket, nor
// one that gained some lends them to a descriptor it was handed. Here the
// opener is who connected, as of then, and the sender is who the credentials
// of the datagram name, as of now.
//
// One rule of the kernel is left out, towards the safe side: the creator of a
// user namespace has all capabilities in it also from outside.
type unixPeer struct {
	cred  unix.Ucred
	pidfd int
	netns *os.File
	id    NetNS
	// owners are the user namespace that owns the network namespace and those
	// around it, as far as the service may see them.
	owners []nsID
	opener procCreds
}

// procCreds is what /proc tells of a process; the zero value has no rights.
type procCreds struct {
	eff    uint64
	userNS nsID
}

// identify reads who is at the other end of a connected unix socket.
func identify(fd int) (*unixPeer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	}
	p := &unixPeer{cred: *cred, pidfd: -1}
	if cred.Pid > 0 {
		// SO_PEERPIDFD (Linux 6.5) names the process itself; before that its
		// number has to do, looked up as soon as possible.
		p.pidfd, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
		if err != nil {
			if p.pidfd, err = unix.PidfdOpen(int(cred.Pid), 0); err != nil {
				p.pidfd = -1
			}
		}
		p.opener = readCreds(int(cred.Pid), p.pidfd)
	}
	if err := p.findNetNS(fd); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// findNetNS opens the network namespace of the connecting socket. An accepted
// unix socket belongs to the namespace of the one that connected
// (unix_stream_connect). Without CAP_NET_ADMIN over it the process's own
// namespace has to do.
func (p *unixPeer) findNetNS(fd int) error {
	if ns, err := unix.IoctlRetInt(fd, unix.SIOCGSKNS); err == nil {
		p.netns = os.NewFile(uintptr(ns), "netns")
	} else {
		f, ferr := os.Open(fmt.Sprintf("/proc/%d/ns/net", p.cred.Pid))
		if ferr != nil {
			return errors.Join(os.NewSyscallError("ioctl", err), ferr)
		}
		p.netns = f
		if !alive(p.pidfd) {
			return errors.New("peer is gone")
		}
	}
	id, err := NetNSOf(p.netns)
	if err != nil {
		return err
	}
	p.id = id
	p.owners = owners(int(p.netns.Fd()))
	return nil
}

// owners lists the user namespace that owns ns and those around it. The
// kernel ends the walk with EPERM at the service's own user namespace.
func owners(ns int) []nsID {
	var ids []nsID
	fd, err := unix.IoctlRetInt(ns, unix.NS_GET_USERNS)
	for err == nil {
		var id nsID
		if id, err = fdID(fd); err != nil {
			unix.Close(fd)
			break
		}
		ids = append(ids, id)
		var parent int
		parent, err = unix.IoctlRetInt(fd, unix.NS_GET_PARENT)
		unix.Close(fd)
		fd = parent
	}
	return ids
}

// alive reports whether the process of a pidfd still runs: the descriptor
// becomes readable when it ends.
func alive(pidfd int) bool {
	if pidfd < 0 {
		return false
	}
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if err == unix.EINTR {
			continue
		}
		return err == nil && n == 0
	}
}

// readCreds reads the rights of a process. That it is alive afterwards proves
// that /proc/PID was it.
func readCreds(pid, pidfd int) procCreds {
	if pid <= 0 || !alive(pidfd) {
		return procCreds{}
	}
	dir := "/proc/" + strconv.Itoa(pid)
	b, err := os.ReadFile(dir + "/status")
	if err != nil {
		return procCreds{}
	}
	var c procCreds
	if c.eff, err = parseCapEff(b); err != nil {
		return procCreds{}
	}
	if c.userNS, err = pathID(dir + "/ns/user"); err != nil || !alive(pidfd) {
		return procCreds{}
	}
	return c
}

// parseCapEff finds the effective set in /proc/PID/status (proc(5)).
func parseCapEff(status []byte) (uint64, error) {
	sc := bufio.NewScanner(bytes.NewReader(status))
	for sc.Scan() {
		if v, ok := bytes.CutPrefix(sc.Bytes(), []byte("CapEff:")); ok {
			return strconv.ParseUint(string(bytes.TrimSpace(v)), 16, 64)
		}
	}
	return 0, errors.New("no CapEff")
}

// sender reads the rights of who sent a datagram.
func (p *unixPeer) sender(from Sender) procCreds {
	if from.PID == int(p.cred.Pid) {
		return readCreds(from.PID, p.pidfd)
	}
	if from.PID <= 0 {
		return procCreds{}
	}
	fd, err := unix.PidfdOpen(from.PID, 0)
	if err != nil {
		return procCreds{}
	}
	defer unix.Close(fd)
	return readCreds(from.PID, fd)
}

func (c procCreds) has(k Cap, in nsID) bool { return c.eff&(1<<k) != 0 && c.userNS == in }

// Capable implements Peer.
func (p *unixPeer) Capable(from Sender, k Cap) bool {
	self, err := selfUserNS()
	return err == nil && p.opener.has(k, self) && p.sender(from).has(k, self)
}

// NetCapable implements Peer: capable in one of the user namespaces around
// the network namespace (ns_capable).
func (p *unixPeer) NetCapable(from Sender, k Cap) bool {
	over := func(c procCreds) bool {
		for _, ns := range p.owners {
			if c.has(k, ns) {
				return true
			}
		}
		return false
	}
	return over(p.opener) && over(p.sender(from))
}

// PID implements Peer.
func (p *unixPeer) PID() int { return int(p.cred.Pid) }

// UID implements Peer.
func (p *unixPeer) UID() uint32 { return p.cred.Uid }

// NetNS implements Peer.
func (p *unixPeer) NetNS() NetNS { return p.id }

// OpenNetNS implements Peer.
func (p *unixPeer) OpenNetNS() (*os.File, error) {
	fd, err := unix.FcntlInt(p.netns.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), "netns"), nil
}

// Close implements Peer.
func (p *unixPeer) Close() error {
	if p.pidfd >= 0 {
		unix.Close(p.pidfd)
		p.pidfd = -1
	}
	if p.netns == nil {
		return nil
	}
	return p.netns.Close()
}
