package fusefs

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// PageSize is the most that one read of a sysfs file shows and one write takes.
const PageSize = 4096

// Caller is the thread that made a request. It waits for the answer, so its
// number stays its own until then.
type Caller struct {
	// TID is the thread in the service's PID namespace, 0 when it is not
	// visible there.
	TID int
	// UID is the user, as far as files go.
	UID uint32
}

// Node is a *Dir, a *File or a *Link.
type Node interface {
	id() *identity
	mode() uint32
}

// identity is what a node is to the kernel; the zero value is a new one.
type identity struct {
	once sync.Once
	ino  uint64
	born time.Time
}

var lastIno atomic.Uint64

func (i *identity) id() *identity {
	i.once.Do(func() {
		// 1 is the root.
		i.ino, i.born = lastIno.Add(1)+1, time.Now()
	})
	return i
}

// Entry is a node by its name in a directory.
type Entry struct {
	Name string
	Node Node
}

// Dir is a directory. Its functions may be called from any goroutine.
type Dir struct {
	identity
	// Perm are the permissions, 0 is 0755.
	Perm uint32
	// Lookup returns an entry; nil and no error is ENOENT. The same node must
	// be returned while it is the same.
	Lookup func(c Caller, name string) (Node, error)
	// List returns all entries.
	List func(c Caller) ([]Entry, error)
}

func (d *Dir) mode() uint32 {
	if d.Perm == 0 {
		return syscall.S_IFDIR | 0o755
	}
	return syscall.S_IFDIR | d.Perm
}

// Find walks a path below the directory, without following links.
func (d *Dir) Find(c Caller, path string) (Node, error) {
	var n Node = d
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		dir, ok := n.(*Dir)
		if !ok {
			return nil, syscall.ENOTDIR
		}
		var err error
		if n, err = dir.Lookup(c, name); err != nil {
			return nil, err
		}
		if n == nil {
			return nil, syscall.ENOENT
		}
	}
	return n, nil
}

// Fixed returns a directory with entries that stay.
func Fixed(entries ...Entry) *Dir {
	return &Dir{
		Lookup: func(_ Caller, name string) (Node, error) {
			if i := slices.IndexFunc(entries, func(e Entry) bool { return e.Name == name }); i >= 0 {
				return entries[i].Node, nil
			}
			return nil, nil
		},
		List: func(Caller) ([]Entry, error) { return entries, nil },
	}
}

// Link is a symbolic link.
type Link struct {
	identity
	// Target returns the text of the link for a caller.
	Target func(c Caller) (string, error)
}

func (*Link) mode() uint32 { return syscall.S_IFLNK | 0o777 }

// To returns a link with a text that stays.
func To(target string) *Link {
	return &Link{Target: func(Caller) (string, error) { return target, nil }}
}

// File is a file whose content is made when it is read.
type File struct {
	identity
	// Perm are the permissions. An access that they allow to nobody is
	// refused to root as well (EACCES, kernel kernfs_fop_open), unless Debug
	// is set.
	Perm uint32
	// Size is what stat shows: PageSize in sysfs, 0 in debugfs.
	Size int64
	// Debug gives the file the manners of debugfs: root may open it as he
	// likes, and a write that it does not take is EINVAL.
	Debug bool
	// Show returns the content.
	Show func() ([]byte, error)
	// Reader, if it is set, is told who reads, before Show.
	Reader func(c Caller)
	// Store takes what was written, at most a page.
	Store func(c Caller, b []byte) error

	mu      sync.Mutex
	event   uint64              // guarded by mu: changes so far
	waiters map[*handle]*waiter // guarded by mu
}

func (f *File) mode() uint32 { return syscall.S_IFREG | f.Perm }

// waiter is a poll(2) that waits for a change.
type waiter struct {
	kh   uint64 // the kernel's name for it
	wake func(kh uint64)
}

// Changed tells those who poll the file that it has other content (kernel
// sysfs_notify).
func (f *File) Changed() {
	f.mu.Lock()
	f.event++
	list := f.waiters
	f.waiters = nil
	f.mu.Unlock()
	for _, w := range list {
		w.wake(w.kh)
	}
}

// Events returns how often the content has changed.
func (f *File) Events() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.event
}

// Read returns the content, at most a page of it in sysfs.
func (f *File) Read() ([]byte, error) {
	b, err := f.Show()
	if err == nil && !f.Debug && len(b) > PageSize {
		b = b[:PageSize]
	}
	return b, err
}

// Write stores a value and returns how much of it was taken: one page.
func (f *File) Write(c Caller, b []byte) (int, error) {
	if f.Store == nil {
		return 0, syscall.EINVAL
	}
	if len(b) > PageSize {
		b = b[:PageSize]
	}
	if err := f.Store(c, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// mayOpen applies the permissions as the file system does beyond the kernel's
// own check of them.
func (f *File) mayOpen(flags uint32) error {
	if f.Debug {
		return nil
	}
	acc := flags & syscall.O_ACCMODE
	if acc != syscall.O_WRONLY && f.Perm&0o444 == 0 || acc != syscall.O_RDONLY && f.Perm&0o222 == 0 {
		return syscall.EACCES
	}
	return nil
}
