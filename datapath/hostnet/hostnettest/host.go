package hostnettest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unicode"

	"ipoib/datapath/hostnet"
	"ipoib/datapath/tun"
	"ipoib/datapath/tun/tuntest"
)

// Host is a hostnet.Host in memory.
type Host struct {
	dir string

	mu     sync.Mutex
	spaces []*space // guarded by mu; the first is the process's own
}

var _ hostnet.Host = (*Host)(nil)

// New returns a host with one network namespace, that of the process.
func New(tb testing.TB) *Host {
	tb.Helper()
	h := &Host{dir: tb.TempDir()}
	h.AddNamespace(tb, "").Close()
	return h
}

// AddNamespace makes a network namespace, with a loopback link, and opens it.
// A namespace without a name can be found by file and identity only.
func (h *Host) AddNamespace(tb testing.TB, name string) *Namespace {
	tb.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.spaces) + 1
	s := &space{
		host: h, id: hostnet.ID{Dev: 4, Ino: uint64(0xf0000000 + n)}, name: name,
		path:   filepath.Join(h.dir, strconv.Itoa(n)),
		links:  make(map[int]*link),
		routes: make(map[int]staticRoute), handles: make(map[*Namespace]struct{}),
	}
	// The file stands for the namespace in tun.Config and Host.ByFile.
	if err := os.WriteFile(s.path, nil, 0o600); err != nil {
		tb.Fatal(err)
	}
	s.links[1] = &link{Link: hostnet.Link{
		Index: 1, Name: "lo", Type: 772, Up: true, Carrier: true, Running: true, MTU: 65536, TxQueueLen: 1000,
	}}
	s.lastIndex = 1
	h.spaces = append(h.spaces, s)
	ns, err := s.open()
	if err != nil {
		tb.Fatal(err)
	}
	return ns
}

// Open opens the namespace of a name; "" is that of the process.
func (h *Host) Open(tb testing.TB, name string) *Namespace {
	tb.Helper()
	ns, err := h.find(name, func(s *space) bool { return s.name == name })
	if err != nil {
		tb.Fatal(err)
	}
	return ns
}

// find opens the first namespace that matches.
func (h *Host) find(what string, match func(*space) bool) (*Namespace, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.spaces {
		if match(s) {
			return s.open()
		}
	}
	return nil, &hostnet.OpError{Op: "open network namespace", Link: what, Err: syscall.ENOENT}
}

// as returns a found namespace as the interface, without a typed nil.
func as(ns *Namespace, err error) (hostnet.Namespace, error) {
	if err != nil {
		return nil, err
	}
	return ns, nil
}

// Current implements hostnet.Host.
func (h *Host) Current() (hostnet.Namespace, error) {
	return as(h.find("", func(s *space) bool { return s.name == "" }))
}

// ByName implements hostnet.Host.
func (h *Host) ByName(name string) (hostnet.Namespace, error) {
	return as(h.find(name, func(s *space) bool { return name != "" && s.name == name }))
}

// ByPath implements hostnet.Host, for the path of Namespace.File.
func (h *Host) ByPath(path string) (hostnet.Namespace, error) {
	return as(h.find(path, func(s *space) bool { return s.path == path }))
}

// ByPID implements hostnet.Host: every process is in the process's own.
func (h *Host) ByPID(int) (hostnet.Namespace, error) { return h.Current() }

// ByFile implements hostnet.Host, for Namespace.File and Device.NetNS.
func (h *Host) ByFile(f *os.File) (hostnet.Namespace, error) {
	return as(h.find(f.Name(), h.isFile(f)))
}

// isFile matches the namespace that an open file stands for.
func (h *Host) isFile(f *os.File) func(*space) bool {
	want, err := f.Stat()
	return func(s *space) bool {
		var got fs.FileInfo
		if err == nil {
			got, err = os.Stat(s.path)
		}
		return err == nil && os.SameFile(got, want)
	}
}

// ByID implements hostnet.Host.
func (h *Host) ByID(id hostnet.ID) (hostnet.Namespace, error) {
	return as(h.find(id.String(), func(s *space) bool { return s.id == id }))
}

// Abandon makes a namespace one that nobody but the process keeps.
func (h *Host) Abandon(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.spaces[1:] {
		if s.name == name {
			s.abandoned = true
		}
	}
}

// Abandoned implements hostnet.Host.
func (h *Host) Abandoned(ids []hostnet.ID) (out []hostnet.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.spaces {
		if s.abandoned && slices.Contains(ids, s.id) {
			out = append(out, s.id)
		}
	}
	return out
}

// OpenTUN is tun.Open for this host: it creates or attaches to a link. The
// MTU is 1500 and the link is down, as with the kernel.
func (h *Host) OpenTUN(c tun.Config) (tun.Device, error) {
	d, err := h.openTUN(c)
	if err != nil {
		return nil, &tun.OpError{Op: "open", Name: c.Name, Err: err}
	}
	return d, nil
}

func (h *Host) openTUN(c tun.Config) (*tuntest.Device, error) {
	match := func(s *space) bool { return s.name == "" }
	if c.NetNS != nil {
		match = h.isFile(c.NetNS)
	}
	ns, err := h.find("", match)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	host, err := ns.s.tunLink(c)
	if err != nil {
		return nil, err
	}
	d, err := host.Open(c.Pool)
	if err != nil {
		return nil, err
	}
	if _, err := d.SetOffload(c.Offload); err != nil {
		return nil, err
	}
	if c.Persist {
		return d, d.SetPersist(true)
	}
	return d, nil
}

// tunLink returns the host's side of the link that a Config asks for, making
// the link when it has to.
func (s *space) tunLink(c tun.Config) (*tuntest.Host, error) {
	defer s.deliver()
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.byName(c.Name); l != nil {
		if l.tun == nil || c.Mode == tun.CreateNew {
			return nil, tun.ErrExist
		}
		return l.tun, nil
	}
	if c.Mode == tun.Attach {
		return nil, tun.ErrNotExist
	}
	name := c.Name
	if prefix, ok := strings.CutSuffix(name, "%d"); ok {
		for n := 0; ; n++ {
			if name = fmt.Sprint(prefix, n); s.byName(name) == nil {
				break
			}
		}
	}
	if !validName(name) {
		return nil, syscall.EINVAL
	}
	l := &link{
		Link: hostnet.Link{
			Index: c.Ifindex, Name: name, Type: tun.LinkTypeInfiniBand, Kind: "tun",
			MTU: 1500, TxQueueLen: c.TxQueueLen,
		},
		lineUp: true, tun: tuntest.NewHost(name),
	}
	if l.TxQueueLen == 0 {
		l.TxQueueLen = 500
	}
	l.tun.SetUp(false)
	s.insert(l)
	return l.tun, nil
}

// validName is the kernel's dev_valid_name.
func validName(name string) bool {
	return name != "" && len(name) <= 15 && name != "." && name != ".." &&
		!strings.ContainsFunc(name, func(r rune) bool { return r == '/' || r == ':' || unicode.IsSpace(r) })
}

// TUN returns the host's side of a TUN link, in whichever namespace it is, or
// nil. Names that are used in more than one namespace are found in the first.
func (h *Host) TUN(name string) *tuntest.Host {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.spaces {
		s.mu.Lock()
		l := s.byName(name)
		s.mu.Unlock()
		if l != nil && l.tun != nil {
			return l.tun
		}
	}
	return nil
}

// insert adds a link, under an index of its own, and announces it. The caller
// holds mu.
func (s *space) insert(l *link) {
	for l.Index == 0 || s.links[l.Index] != nil {
		s.lastIndex++ // never used again, as the kernel does for long
		l.Index = s.lastIndex
	}
	s.lastIndex = max(s.lastIndex, l.Index)
	s.links[l.Index] = l
	if l.tun != nil {
		l.tun.SetNetNS(s.path)
		l.tun.OnChange(func() { s.tunChanged(l) })
	}
	s.announce(l)
}

// tunChanged follows what the device did to its link.
func (s *space) tunChanged(l *link) {
	defer s.deliver()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.links[l.Index] != l {
		return // it moved
	}
	if l.tun.Removed() {
		s.remove(l, false)
		return
	}
	l.lineUp = l.tun.Carrier()
	s.announce(l)
}
