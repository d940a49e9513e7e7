package nl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// unixConn is a PacketConn over an AF_UNIX SOCK_SEQPACKET socket.
type unixConn struct {
	uc  *net.UnixConn
	raw syscall.RawConn
	// creds: the socket has SO_PASSCRED.
	creds bool
}

func newUnixConn(uc *net.UnixConn, creds bool) (*unixConn, error) {
	raw, err := uc.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &unixConn{uc: uc, raw: raw, creds: creds}, nil
}

// ReadPacket implements PacketConn.
func (c *unixConn) ReadPacket() ([]byte, Sender, error) {
	// Room for the credentials and nothing else: descriptors that a peer
	// sends along are dropped by the kernel.
	var oob []byte
	if c.creds {
		oob = make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	}
	var b []byte
	var from Sender
	var err error
	rerr := c.raw.Read(func(fd uintptr) bool {
		var n int
		n, err = peek(int(fd))
		if errors.Is(err, unix.EAGAIN) {
			return false
		}
		switch {
		case err != nil:
			return true
		case n == 0:
			err = io.EOF
			return true
		case n > MaxDatagram:
			err = ErrPacketTooLong
			n = 1
		}
		b = make([]byte, n)
		m, oobn, _, _, e := unix.Recvmsg(int(fd), b, oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		if e != nil {
			err = e
			return true
		}
		b = b[:m]
		from = parseSender(oob[:oobn])
		return true
	})
	switch {
	case rerr != nil:
		return nil, from, rerr
	case err != nil:
		if errno, ok := errors.AsType[unix.Errno](err); ok {
			err = os.NewSyscallError("recvmsg", errno)
		}
		return nil, from, err
	}
	return b, from, nil
}

// peek returns the length of the next datagram, 0 at the end.
func peek(fd int) (int, error) {
	for {
		n, _, _, _, err := unix.Recvmsg(fd, nil, nil, unix.MSG_PEEK|unix.MSG_TRUNC|unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			return n, err
		}
	}
}

func parseSender(oob []byte) Sender {
	cs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return Sender{}
	}
	for i := range cs {
		if u, err := unix.ParseUnixCredentials(&cs[i]); err == nil {
			return Sender{PID: int(u.Pid)}
		}
	}
	return Sender{}
}

// WritePacket implements PacketConn.
func (c *unixConn) WritePacket(b []byte) error {
	if len(b) == 0 {
		return errEmptyPacket
	}
	_, err := c.uc.Write(b)
	return err
}

func (c *unixConn) SetReadDeadline(t time.Time) error  { return c.uc.SetReadDeadline(t) }
func (c *unixConn) SetWriteDeadline(t time.Time) error { return c.uc.SetWriteDeadline(t) }
func (c *unixConn) SetWriteBuffer(n int) error         { return c.uc.SetWriteBuffer(n) }
func (c *unixConn) Close() error                       { return c.uc.Close() }

// SyscallConn implements syscall.Conn.
func (c *unixConn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }

// Dial connects to the service's socket at path and says hello. Beside the
// errors of NewConn there are those of connect(2): fs.ErrNotExist and
// ECONNREFUSED mean that no service runs.
func Dial(ctx context.Context, path string, cfg ConnConfig) (*Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unixpacket", path)
	if err != nil {
		return nil, fmt.Errorf("nl: %w", err)
	}
	pc, err := newUnixConn(nc.(*net.UnixConn), false)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("nl: %w", err)
	}
	return NewConn(ctx, pc, cfg)
}

// UnixListener accepts connections on a unix socket.
type UnixListener struct {
	l *net.UnixListener
}

// Listen creates the socket at path with the permissions given; 0666 lets
// everyone read the state, changes ask for capabilities anyway. A socket file
// that nobody listens on is replaced; one in use is EADDRINUSE.
func Listen(path string, mode fs.FileMode) (*UnixListener, error) {
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("nl: %w", err)
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("nl: %w", err)
	}
	if err := os.Chmod(path, mode); err != nil {
		l.Close()
		return nil, fmt.Errorf("nl: %w", err)
	}
	return NewListener(l)
}

func removeStale(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if fi.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s: %w: not a socket", path, fs.ErrExist)
	}
	c, err := net.Dial("unixpacket", path)
	if err == nil {
		c.Close()
		return fmt.Errorf("%s: %w", path, syscall.EADDRINUSE)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return os.Remove(path)
	}
	return err
}

// NewListener accepts connections on a socket made elsewhere, such as one
// handed over at start. It must be of type SOCK_SEQPACKET. l is closed on an
// error.
func NewListener(l *net.UnixListener) (*UnixListener, error) {
	raw, err := l.SyscallConn()
	if err == nil {
		// Accepted sockets inherit it, so no message comes without.
		cerr := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
		})
		err = errors.Join(err, cerr)
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("nl: %w", err)
	}
	return &UnixListener{l: l}, nil
}

// Accept implements Listener.
func (l *UnixListener) Accept() (PacketConn, Peer, error) {
	uc, err := l.l.AcceptUnix()
	if err != nil {
		return nil, nil, err
	}
	pc, err := newUnixConn(uc, true)
	if err != nil {
		uc.Close()
		return nil, nil, fmt.Errorf("%w: %w", ErrPeer, err)
	}
	var peer *unixPeer
	cerr := pc.raw.Control(func(fd uintptr) { peer, err = identify(int(fd)) })
	if err = errors.Join(cerr, err); err != nil {
		uc.Close()
		return nil, nil, fmt.Errorf("%w: %w", ErrPeer, err)
	}
	return pc, peer, nil
}

// Close stops listening and removes a socket file that Listen made.
func (l *UnixListener) Close() error { return l.l.Close() }

// Addr returns the socket's address.
func (l *UnixListener) Addr() net.Addr { return l.l.Addr() }
