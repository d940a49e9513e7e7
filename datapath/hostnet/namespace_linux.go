package hostnet

import (
	"os"
	"sync"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ipoib/datapath/internal/netns"
)

// namespace is an open network namespace. Sockets and files are opened inside
// it and stay there.
type namespace struct {
	id   ID
	name string
	file *os.File
	// conn carries the requests, one at a time; routes the lookups.
	conn   *netlink.Conn
	routes routePool
	groups groupFiles

	mu       sync.Mutex
	closed   bool                  // guarded by mu
	watchers map[*watcher]struct{} // guarded by mu
}

// newNamespace takes f over, also when it fails.
func newNamespace(f *os.File) (ns Namespace, err error) {
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	fi, err := f.Stat()
	if err != nil {
		return nil, openError(f.Name(), err)
	}
	err = control(f, func(fd int) error {
		typ, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
		if err == nil && typ != unix.CLONE_NEWNET {
			err = unix.EINVAL
		}
		return err
	})
	if err != nil {
		return nil, openError(f.Name(), err)
	}
	n := &namespace{id: idOf(fi), file: f, watchers: make(map[*watcher]struct{})}
	n.name = nameOf(n.id)
	if n.conn, err = n.dial(0); err != nil {
		return nil, openError(f.Name(), err)
	}
	return n, nil
}

// receiveSize is the buffer that messages are received into, in bytes: twice the
// largest piece that the kernel makes of a dump (netlink_dump).
const receiveSize = 64 << 10

// dial opens an rtnetlink socket in the namespace.
func (n *namespace) dial(groups uint32) (conn *netlink.Conn, err error) {
	err = netns.Do(n.file, func() error {
		conn, err = netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{Groups: groups, Strict: true, MessageBufferSize: receiveSize})
		return err
	})
	return conn, err
}

// ID implements Namespace.
func (n *namespace) ID() ID { return n.id }

// Name implements Namespace.
func (n *namespace) Name() string { return n.name }

// File implements Namespace.
func (n *namespace) File() *os.File { return n.file }

// Close implements Namespace.
func (n *namespace) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	var list []*watcher
	for w := range n.watchers {
		list = append(list, w)
	}
	n.mu.Unlock()
	for _, w := range list {
		w.Close()
	}
	n.conn.Close()
	n.routes.close()
	n.groups.close()
	return n.file.Close()
}

// opError names the error of an operation on a link.
func (n *namespace) opError(op, link string, err error) error {
	if err == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		err = ErrClosed
	}
	return &OpError{Op: op, Link: link, Err: err}
}
