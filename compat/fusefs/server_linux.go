package fusefs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// fsType is the file system type that mounts of this package have in
// /proc/self/mountinfo.
const fsType = "fuse.ipoib"

// maxWrite is the largest write that comes as one request. It is above a page,
// so that a longer one is seen as such and cut.
const maxWrite = 4 * PageSize

// maxRead is the largest read that comes as one request.
const maxRead = 128 << 10

// bufLen holds any request: the kernel demands room for fuse_write_in and
// maxWrite, and 8 KiB at least.
const bufLen = maxWrite + PageSize

// Server serves one tree.
type Server struct {
	dir  string
	dev  *os.File
	fs   *raw
	ps   *fuse.ProtocolServer
	log  *slog.Logger
	bufs sync.Pool
	done chan struct{}
}

// Mount mounts a tree at dir, for all users; source names the mount in
// /proc/self/mountinfo. It needs CAP_SYS_ADMIN and /dev/fuse.
func Mount(dir, source string, root *Dir, log *slog.Logger) (*Server, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/dev/fuse", Err: err}
	}
	opts := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,max_read=%d", fd, maxRead)
	if err := unix.Mount(source, dir, fsType, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, opts); err != nil {
		_ = unix.Close(fd)
		return nil, &os.PathError{Op: "mount", Path: dir, Err: err}
	}
	s := &Server{
		dir: dir, dev: os.NewFile(uintptr(fd), "/dev/fuse"), fs: newRaw(root), log: log, done: make(chan struct{}),
		bufs: sync.Pool{New: func() any { return new([bufLen]byte) }},
	}
	s.ps = fuse.NewProtocolServer(s.fs, &fuse.MountOptions{
		MaxWrite: maxWrite, DisableReadDirPlus: true, Logger: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	})
	go s.serve()
	return s, nil
}

// Close unmounts the tree. Accesses through other mounts of it fail from then
// on.
func (s *Server) Close() error {
	err := unix.Unmount(s.dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	cerr := s.dev.Close()
	<-s.done
	if errors.Is(err, unix.EINVAL) { // unmounted by somebody else
		err = nil
	}
	if err != nil {
		return &os.PathError{Op: "unmount", Path: s.dir, Err: err}
	}
	return cerr
}

// serve reads requests until the tree is unmounted. Each is answered on a
// goroutine of its own, so that a slow one holds up nobody.
func (s *Server) serve() {
	defer close(s.done)
	for {
		buf := s.bufs.Get().(*[bufLen]byte)
		n, err := s.dev.Read(buf[:])
		switch {
		case err == nil && n >= inHeaderLen:
			go s.answer(buf, n)
			continue
		case err == nil, errors.Is(err, unix.ENOENT), errors.Is(err, unix.EINTR):
			// An interrupted request.
			s.bufs.Put(buf)
			continue
		case errors.Is(err, unix.ENODEV), errors.Is(err, os.ErrClosed):
		default:
			s.log.Error("cannot read from the kernel", "err", err)
		}
		return
	}
}

func (s *Server) answer(buf *[bufLen]byte, n int) {
	defer s.bufs.Put(buf)
	in := buf[:n]
	size := bufLen
	op := binary.NativeEndian.Uint32(in[4:])
	if (op == opRead || op == opReadDir || op == opReadDirPlus) && n >= readSizeAt+4 {
		size = outHeaderLen + int(min(binary.NativeEndian.Uint32(in[readSizeAt:]), maxRead))
	}
	out := make([]byte, size)
	if op == opPoll {
		n = s.fs.pollRequest(in, out, s.wake)
	} else {
		var st fuse.Status
		if n, st = s.ps.HandleRequest([][]byte{in}, [][]byte{out}); !st.Ok() {
			putOutHeader(out, outHeaderLen, -int32(st), binary.NativeEndian.Uint64(in[8:]))
			n = outHeaderLen
		}
	}
	if n == 0 {
		return // no answer is wanted
	}
	// ENOENT: the caller was interrupted and does not wait any more.
	if _, err := s.dev.Write(out[:n]); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, os.ErrClosed) {
		s.log.Debug("cannot answer the kernel", "err", err)
	}
}

func (s *Server) wake(kh uint64) {
	if _, err := s.dev.Write(pollWakeup(kh)); err != nil && !errors.Is(err, unix.ENOENT) {
		s.log.Debug("cannot wake a poll", "err", err)
	}
}
