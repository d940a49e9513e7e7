package fusefs

import (
	"errors"
	"slices"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// raw is a tree as go-fuse asks for it. Nothing is cached by the kernel: all
// validity times are 0.
type raw struct {
	fuse.RawFileSystem // what is not here is ENOSYS

	root *Dir

	mu      sync.Mutex
	nodes   map[uint64]*known  // guarded by mu, as is all below
	handles map[uint64]*handle // by number
	lastFH  uint64
}

// known is a node that the kernel holds.
type known struct {
	Node
	lookups uint64
}

// handle is an open file or directory.
type handle struct {
	file    *File
	entries []Entry // of a directory

	mu   sync.Mutex
	buf  []byte // guarded by mu: what was shown at offset 0
	read bool   // guarded by mu
	seen uint64 // guarded by file.mu: the event that the reader knows, +1
}

func newRaw(root *Dir) *raw {
	return &raw{
		RawFileSystem: fuse.NewDefaultRawFileSystem(), root: root,
		nodes: make(map[uint64]*known), handles: make(map[uint64]*handle),
	}
}

// String implements fuse.RawFileSystem.
func (r *raw) String() string { return "ipoib" }

// status maps an error to an errno: one that it carries, or EIO.
func status(err error) fuse.Status {
	if err == nil {
		return fuse.OK
	}
	var e interface{ Errno() syscall.Errno }
	if errors.As(err, &e) {
		return fuse.Status(e.Errno())
	}
	if n, ok := errors.AsType[syscall.Errno](err); ok {
		return fuse.Status(n)
	}
	return fuse.EIO
}

func caller(h *fuse.InHeader) Caller { return Caller{TID: int(h.Pid), UID: h.Uid} }

// node returns a node that the kernel holds.
func (r *raw) node(id uint64) (Node, fuse.Status) {
	if id == fuse.FUSE_ROOT_ID {
		return r.root, fuse.OK
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.nodes[id]; k != nil {
		return k.Node, fuse.OK
	}
	return nil, fuse.Status(syscall.ESTALE)
}

func (r *raw) handle(fh uint64) *handle {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.handles[fh]
}

func (r *raw) open(h *handle) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastFH++
	r.handles[r.lastFH] = h
	return r.lastFH
}

func (r *raw) release(fh uint64) *handle {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.handles[fh]
	delete(r.handles, fh)
	return h
}

func (r *raw) attr(n Node, out *fuse.Attr) {
	id := n.id()
	out.Ino, out.Mode, out.Nlink, out.Blksize = id.ino, n.mode(), 1, PageSize
	if n == Node(r.root) {
		out.Ino = fuse.FUSE_ROOT_ID
	}
	switch n := n.(type) {
	case *Dir:
		out.Nlink = 2
	case *File:
		out.Size = uint64(n.Size)
	}
	out.SetTimes(&id.born, &id.born, &id.born)
}

// Lookup implements fuse.RawFileSystem.
func (r *raw) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	p, st := r.node(h.NodeId)
	if !st.Ok() {
		return st
	}
	d, ok := p.(*Dir)
	if !ok {
		return fuse.ENOTDIR
	}
	n, err := d.Lookup(caller(h), name)
	if err != nil {
		return status(err)
	}
	if n == nil {
		return fuse.ENOENT
	}
	ino := n.id().ino
	r.mu.Lock()
	k := r.nodes[ino]
	if k == nil {
		k = &known{Node: n}
		r.nodes[ino] = k
	}
	k.lookups++
	r.mu.Unlock()
	out.NodeId, out.Generation = ino, 1
	r.attr(n, &out.Attr)
	return fuse.OK
}

// Forget implements fuse.RawFileSystem.
func (r *raw) Forget(id, n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.nodes[id]; k != nil {
		if k.lookups -= min(n, k.lookups); k.lookups == 0 {
			delete(r.nodes, id)
		}
	}
}

// GetAttr implements fuse.RawFileSystem.
func (r *raw) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	n, st := r.node(in.NodeId)
	if st.Ok() {
		r.attr(n, &out.Attr)
	}
	return st
}

// SetAttr implements fuse.RawFileSystem: truncation and new times are accepted
// and mean nothing, as in sysfs; owner and mode stay.
func (r *raw) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if in.Valid&(fuse.FATTR_MODE|fuse.FATTR_UID|fuse.FATTR_GID) != 0 {
		return fuse.EPERM
	}
	n, st := r.node(in.NodeId)
	if st.Ok() {
		r.attr(n, &out.Attr)
	}
	return st
}

// Readlink implements fuse.RawFileSystem.
func (r *raw) Readlink(_ <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	n, st := r.node(h.NodeId)
	if !st.Ok() {
		return nil, st
	}
	l, ok := n.(*Link)
	if !ok {
		return nil, fuse.EINVAL
	}
	s, err := l.Target(caller(h))
	return []byte(s), status(err)
}

// Open implements fuse.RawFileSystem.
func (r *raw) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n, st := r.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	f, ok := n.(*File)
	if !ok {
		return fuse.EINVAL
	}
	if err := f.mayOpen(in.Flags); err != nil {
		return status(err)
	}
	out.Fh, out.OpenFlags = r.open(&handle{file: f}), fuse.FOPEN_DIRECT_IO
	return fuse.OK
}

// Read implements fuse.RawFileSystem: at offset 0 the file is shown anew, what
// follows continues that (kernel seq_file).
func (r *raw) Read(_ <-chan struct{}, in *fuse.ReadIn, _ []byte) (fuse.ReadResult, fuse.Status) {
	h := r.handle(in.Fh)
	if h == nil || h.file == nil {
		return nil, fuse.EBADF
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if in.Offset == 0 || !h.read {
		h.file.mu.Lock()
		h.seen = h.file.event + 1
		h.file.mu.Unlock()
		if fn := h.file.Reader; fn != nil {
			fn(caller(&in.InHeader))
		}
		b, err := h.file.Read()
		if err != nil {
			return nil, status(err)
		}
		h.buf, h.read = b, true
	}
	b := h.buf[min(in.Offset, uint64(len(h.buf))):]
	return fuse.ReadResultData(b[:min(len(b), int(in.Size))]), fuse.OK
}

// Write implements fuse.RawFileSystem; the offset means nothing.
func (r *raw) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	h := r.handle(in.Fh)
	if h == nil || h.file == nil {
		return 0, fuse.EBADF
	}
	n, err := h.file.Write(caller(&in.InHeader), data)
	return uint32(n), status(err)
}

// Release implements fuse.RawFileSystem.
func (r *raw) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	if h := r.release(in.Fh); h != nil && h.file != nil {
		h.file.mu.Lock()
		delete(h.file.waiters, h)
		h.file.mu.Unlock()
	}
}

// Flush implements fuse.RawFileSystem: ENOSYS, so that the kernel asks only
// once. Closing a file then needs nobody's answer.
func (r *raw) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.ENOSYS }

// Fsync implements fuse.RawFileSystem.
func (r *raw) Fsync(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.OK }

// OpenDir implements fuse.RawFileSystem.
func (r *raw) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n, st := r.node(in.NodeId)
	if !st.Ok() {
		return st
	}
	if _, ok := n.(*Dir); !ok {
		return fuse.ENOTDIR
	}
	out.Fh = r.open(&handle{})
	return fuse.OK
}

// ReadDir implements fuse.RawFileSystem: the entries are those at the time
// that the directory is read from its start.
func (r *raw) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	n, st := r.node(in.NodeId)
	h := r.handle(in.Fh)
	if !st.Ok() || h == nil {
		return fuse.EBADF
	}
	d, ok := n.(*Dir)
	if !ok {
		return fuse.ENOTDIR
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if in.Offset == 0 || !h.read {
		list, err := d.List(caller(&in.InHeader))
		if err != nil {
			return status(err)
		}
		h.entries = slices.Concat([]Entry{{Name: ".", Node: d}, {Name: "..", Node: d}}, list)
		h.read = true
	}
	for _, e := range h.entries[min(in.Offset, uint64(len(h.entries))):] {
		if !out.AddDirEntry(fuse.DirEntry{Name: e.Name, Mode: e.Node.mode(), Ino: e.Node.id().ino}) {
			break
		}
	}
	return fuse.OK
}

// ReleaseDir implements fuse.RawFileSystem.
func (r *raw) ReleaseDir(in *fuse.ReleaseIn) { r.release(in.Fh) }

// FsyncDir implements fuse.RawFileSystem.
func (r *raw) FsyncDir(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.OK }

// StatFs implements fuse.RawFileSystem.
func (r *raw) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	out.Bsize, out.Frsize, out.NameLen = PageSize, PageSize, 255
	return fuse.OK
}

// Create implements fuse.RawFileSystem: sysfs has no such operation, for which
// open(2) says EACCES.
func (r *raw) Create(<-chan struct{}, *fuse.CreateIn, string, *fuse.CreateOut) fuse.Status {
	return fuse.EACCES
}

// Mknod implements fuse.RawFileSystem.
func (r *raw) Mknod(<-chan struct{}, *fuse.MknodIn, string, *fuse.EntryOut) fuse.Status {
	return fuse.EPERM
}

// Mkdir implements fuse.RawFileSystem.
func (r *raw) Mkdir(<-chan struct{}, *fuse.MkdirIn, string, *fuse.EntryOut) fuse.Status {
	return fuse.EPERM
}

// Unlink implements fuse.RawFileSystem.
func (r *raw) Unlink(<-chan struct{}, *fuse.InHeader, string) fuse.Status { return fuse.EPERM }

// Rmdir implements fuse.RawFileSystem.
func (r *raw) Rmdir(<-chan struct{}, *fuse.InHeader, string) fuse.Status { return fuse.EPERM }

// Symlink implements fuse.RawFileSystem.
func (r *raw) Symlink(<-chan struct{}, *fuse.InHeader, string, string, *fuse.EntryOut) fuse.Status {
	return fuse.EPERM
}

// Link implements fuse.RawFileSystem.
func (r *raw) Link(<-chan struct{}, *fuse.LinkIn, string, *fuse.EntryOut) fuse.Status {
	return fuse.EPERM
}

// Rename implements fuse.RawFileSystem.
func (r *raw) Rename(<-chan struct{}, *fuse.RenameIn, string, string) fuse.Status {
	return fuse.EPERM
}
