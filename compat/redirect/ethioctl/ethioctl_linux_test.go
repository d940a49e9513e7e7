package ethioctl

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ipoib/compat/redirect/filter"
	"ipoib/compat/redirect/internal/redirecttest"
	"ipoib/compat/redirect/trap"
	"ipoib/compat/redirect/upstream"
	"ipoib/datapath"
	"ipoib/nl/rtlink"
)

// world is a service, and a program that asks it by ioctl.
type world struct {
	tb  testing.TB
	s   *redirecttest.Service
	up  *upstream.World
	h   Handler
	mem *redirecttest.Memory // of the command's structure
	req *redirecttest.Memory // of struct ifreq
	fd  int
}

// World makes the world the only one there is.
func (w *world) World(*trap.Trap, int) (*upstream.World, error) { return w.up, nil }

func newWorld(tb testing.TB) *world {
	tb.Helper()
	s := redirecttest.Start(tb)
	w := &world{tb: tb, s: s, up: s.World(), mem: redirecttest.NewMemory(tb), req: redirecttest.NewMemory(tb)}
	w.h.Worlds = w
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = unix.Close(fd) })
	w.fd = fd
	return w
}

// privileged reports whether this process may change its network namespace:
// what the program may is what its thread may.
func (w *world) privileged() bool {
	tr, _ := redirecttest.Call(w.tb, unix.SYS_IOCTL)
	return tr.Thread.NetAdmin(int(w.up.NetNS().Fd()))
}

// ioctl makes a call for an interface with the address of a structure.
func (w *world) ioctl(req uint64, ifname string, data uint64) *redirecttest.Answers {
	w.tb.Helper()
	ifr := make([]byte, ifreqLen)
	copy(ifr, ifname)
	native.PutUint64(ifr[ifNameSize:], data)
	return w.call(req, w.req.Put(ifr, 0))
}

func (w *world) call(req, arg uint64) *redirecttest.Answers {
	w.tb.Helper()
	tr, a := redirecttest.Call(w.tb, unix.SYS_IOCTL, uint64(w.fd), req, arg)
	_ = w.h.Handle(tr)
	tr.Close()
	if a.Count != 1 {
		w.tb.Fatalf("%#x: %d answers", req, a.Count)
	}
	return a
}

// eth makes a command with a structure of n bytes, which begins with words, and
// returns what became of it.
func (w *world) eth(n int, words ...uint32) ([]byte, unix.Errno) {
	w.tb.Helper()
	b := redirecttest.Put32(nil, words...)
	addr := w.mem.Put(append(b, make([]byte, max(n-len(b), 0))...), 0)
	a := w.ioctl(filter.SIOCETHTOOL, "ib0", addr)
	if a.Continued {
		w.tb.Fatalf("%#x: left to the kernel", words[0])
	}
	return w.mem.At(addr, max(n, len(b))), a.Errno
}

// public are the commands that need no privilege (kernel dev_ethtool).
var public = []uint32{
	unix.ETHTOOL_GSET, unix.ETHTOOL_GDRVINFO, unix.ETHTOOL_GMSGLVL, unix.ETHTOOL_GLINK, unix.ETHTOOL_GCOALESCE,
	unix.ETHTOOL_GRINGPARAM, unix.ETHTOOL_GPAUSEPARAM, unix.ETHTOOL_GRXCSUM, unix.ETHTOOL_GTXCSUM, unix.ETHTOOL_GSG,
	unix.ETHTOOL_GSSET_INFO, unix.ETHTOOL_GSTRINGS, unix.ETHTOOL_GSTATS, unix.ETHTOOL_GPHYSTATS, unix.ETHTOOL_GTSO,
	unix.ETHTOOL_GPERMADDR, unix.ETHTOOL_GUFO, unix.ETHTOOL_GGSO, unix.ETHTOOL_GGRO, unix.ETHTOOL_GFLAGS,
	unix.ETHTOOL_GPFLAGS, unix.ETHTOOL_GRXFH, unix.ETHTOOL_GRXRINGS, unix.ETHTOOL_GRXCLSRLCNT,
	unix.ETHTOOL_GRXCLSRULE, unix.ETHTOOL_GRXCLSRLALL, unix.ETHTOOL_GRXFHINDIR, unix.ETHTOOL_GRSSH,
	unix.ETHTOOL_GFEATURES, unix.ETHTOOL_GCHANNELS, unix.ETHTOOL_GET_TS_INFO, unix.ETHTOOL_GEEE,
	unix.ETHTOOL_GTUNABLE, unix.ETHTOOL_PHY_GTUNABLE, unix.ETHTOOL_GLINKSETTINGS, unix.ETHTOOL_GFECPARAM,
}

// outcomes are the commands that do not end with EOPNOTSUPP, with a structure
// of zeros and the size that they ask for.
var outcomes = map[uint32]unix.Errno{
	unix.ETHTOOL_GSET: 0, unix.ETHTOOL_GDRVINFO: 0, unix.ETHTOOL_GLINK: 0, unix.ETHTOOL_GCOALESCE: 0,
	unix.ETHTOOL_SCOALESCE: 0, unix.ETHTOOL_GRXCSUM: 0, unix.ETHTOOL_SRXCSUM: 0, unix.ETHTOOL_GTXCSUM: 0,
	unix.ETHTOOL_STXCSUM: 0, unix.ETHTOOL_GSG: 0, unix.ETHTOOL_GTSO: 0, unix.ETHTOOL_STSO: 0,
	unix.ETHTOOL_GUFO: 0, unix.ETHTOOL_GGSO: 0, unix.ETHTOOL_SGSO: 0, unix.ETHTOOL_GGRO: 0, unix.ETHTOOL_SGRO: 0,
	unix.ETHTOOL_GFLAGS: 0, unix.ETHTOOL_SFLAGS: 0, unix.ETHTOOL_GSSET_INFO: 0, unix.ETHTOOL_GSTATS: 0,
	unix.ETHTOOL_GFEATURES: 0, unix.ETHTOOL_SFEATURES: unix.EINVAL, unix.ETHTOOL_GPERMADDR: etoosmall,
	unix.ETHTOOL_GET_TS_INFO: 0, unix.ETHTOOL_GLINKSETTINGS: 0, unix.ETHTOOL_GSTRINGS: unix.EOPNOTSUPP,
	unix.ETHTOOL_FLASHDEV: 0,
}

// Every command, those that there are and those that there are not.
func TestCommands(t *testing.T) {
	w := newWorld(t)
	for cmd := range uint32(0x100) {
		want, ok := outcomes[cmd]
		if !ok {
			want = unix.EOPNOTSUPP
		}
		if !w.privileged() && !slices.Contains(public, cmd) {
			want = unix.EPERM
		}
		// gstrings of zeros asks for ETH_SS_TEST, which is empty.
		if _, errno := w.eth(512, cmd); errno != want {
			t.Errorf("%#x: %v, want %v", cmd, errno, want)
		}
	}
	if _, errno := w.eth(512, 0xffffffff); errno != unix.EOPNOTSUPP && w.privileged() || errno == 0 {
		t.Errorf("a command that nobody has: %v", errno)
	}
}

func u32(b []byte, at int) uint32 { return native.Uint32(b[at:]) }

// text is a string of a structure.
func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

// What the structures say.
func TestStructures(t *testing.T) {
	w := newWorld(t)
	ok := func(n int, words ...uint32) []byte {
		t.Helper()
		b, errno := w.eth(n, words...)
		if errno != 0 {
			t.Fatalf("%#x: %v", words[0], errno)
		}
		return b
	}
	b := ok(196, unix.ETHTOOL_GDRVINFO)
	if text(b[4:]) != "ib_ipoib" || text(b[36:]) != "1.2" || text(b[68:]) != "1.0.0" || text(b[100:]) != "ipoib:soft0" || u32(b, 180) != 8 {
		t.Errorf("GDRVINFO %q", b)
	}
	b = ok(8+8*8, unix.ETHTOOL_GSTATS)
	if u32(b, 4) != 8 {
		t.Errorf("GSTATS %x", b)
	}
	b = ok(12+8*32, unix.ETHTOOL_GSTRINGS, 1)
	var names []string
	for i := range int(u32(b, 8)) {
		names = append(names, text(b[12+32*i:]))
	}
	if !slices.Equal(names, datapath.StatNames()) {
		t.Errorf("GSTRINGS %q", names)
	}
	// Of all string sets those that there are, with their lengths.
	b = ok(16+4*64, unix.ETHTOOL_GSSET_INFO, 0, 0xffffffff, 0xffffffff)
	mask := uint64(u32(b, 8)) | uint64(u32(b, 12))<<32
	if mask&(1<<1) == 0 || mask&(1<<0) != 0 || u32(b, 16) != 8 {
		t.Errorf("GSSET_INFO %#x %x", mask, b[16:])
	}
	b = ok(44, unix.ETHTOOL_GSET)
	if speed := uint32(native.Uint16(b[12:])) | uint32(native.Uint16(b[28:]))<<16; speed != 100000 || b[14] != 1 || b[15] != 0xff {
		t.Errorf("GSET %x", b)
	}
	words := int(-int8(ok(48, unix.ETHTOOL_GLINKSETTINGS)[15]))
	b = ok(48+12*words, unix.ETHTOOL_GLINKSETTINGS, 0, 0, uint32(words)<<24)
	if words < 1 || int(b[15]) != words || b[9] != 0xff || b[8] != 1 || u32(b, 4) != 100000 {
		t.Errorf("GLINKSETTINGS %d words %x", words, b)
	}
	l, err := (&device{w: w.up, index: int32(w.s.IB0.Info().Ifindex)}).link()
	if err != nil {
		t.Fatal(err)
	}
	if b = ok(28, unix.ETHTOOL_GPERMADDR, 20); u32(b, 4) != 20 || !bytes.Equal(b[8:], l.PermAddress) {
		t.Errorf("GPERMADDR %x", b)
	}
	if _, errno := w.eth(28, unix.ETHTOOL_GPERMADDR, 19); errno != etoosmall {
		t.Errorf("GPERMADDR with 19 bytes: %v", errno)
	}
	if b = ok(44, unix.ETHTOOL_GET_TS_INFO); u32(b, 4) != 24 || u32(b, 8) != 0xffffffff {
		t.Errorf("GET_TS_INFO %x", b)
	}
	// One block of the two that there are.
	b = ok(8+16, unix.ETHTOOL_GFEATURES, 1)
	if u32(b, 4) != 2 || u32(b, 8) == 0 {
		t.Errorf("GFEATURES %x", b)
	}
	addr := w.ioctl(filter.SIOCGIFHWADDR, "ib0", 0)
	if ifr := w.req.At(w.req.Address(w.req.Len()-ifreqLen), ifreqLen); addr.Errno != 0 || native.Uint16(ifr[16:]) != rtlink.TypeInfiniBand || !bytes.Equal(ifr[18:32], l.Address[:14]) {
		t.Errorf("SIOCGIFHWADDR %v %x", addr.Errno, ifr)
	}
	flags := w.ioctl(filter.SIOCGIFFLAGS, "ib0", 0)
	if ifr := w.req.At(w.req.Address(w.req.Len()-ifreqLen), ifreqLen); flags.Errno != 0 || native.Uint16(ifr[16:]) != unix.IFF_BROADCAST|unix.IFF_MULTICAST {
		t.Errorf("SIOCGIFFLAGS %v %x", flags.Errno, ifr[16:])
	}
}

// Changes are the service's, for who may make them.
func TestChanges(t *testing.T) {
	w := newWorld(t)
	coalesce := func() string {
		b, _ := w.eth(92, unix.ETHTOOL_GCOALESCE)
		return fmt.Sprint(u32(b, 4), u32(b, 8))
	}
	set := func(words ...uint32) unix.Errno { _, errno := w.eth(92, words...); return errno }
	may := func(errno unix.Errno) unix.Errno {
		if !w.privileged() {
			return unix.EPERM
		}
		return errno
	}
	for _, tt := range []struct {
		words []uint32
		errno unix.Errno
		after string
	}{
		{[]uint32{unix.ETHTOOL_SCOALESCE, 5, 6}, 0, "5 6"},
		{[]uint32{unix.ETHTOOL_SCOALESCE, 5, 6, 7}, unix.EOPNOTSUPP, "5 6"}, // rx_coalesce_usecs_irq
		{[]uint32{unix.ETHTOOL_SCOALESCE, 65536, 6}, unix.EINVAL, "5 6"},
		{[]uint32{unix.ETHTOOL_SCOALESCE, 0xffffffff, 0xffffffff}, unix.EINVAL, "5 6"},
		{[]uint32{unix.ETHTOOL_SCOALESCE}, 0, "0 0"},
	} {
		if got := set(tt.words...); got != may(tt.errno) {
			t.Errorf("%v: %v", tt.words, got)
		}
		if got := coalesce(); w.privileged() && got != tt.after {
			t.Errorf("%v: %s", tt.words, got)
		}
	}
	value := func(cmd uint32) uint32 { b, _ := w.eth(8, cmd); return u32(b, 4) }
	for _, tt := range []struct{ set, get, on uint32 }{
		{unix.ETHTOOL_STSO, unix.ETHTOOL_GTSO, 1}, {unix.ETHTOOL_SRXCSUM, unix.ETHTOOL_GRXCSUM, 1},
		{unix.ETHTOOL_STXCSUM, unix.ETHTOOL_GTXCSUM, 1}, {unix.ETHTOOL_SGRO, unix.ETHTOOL_GGRO, 1},
		{unix.ETHTOOL_SGSO, unix.ETHTOOL_GGSO, 1}, {unix.ETHTOOL_SFLAGS, unix.ETHTOOL_GFLAGS, 1 << 15},
	} {
		for _, v := range []uint32{0, tt.on, 0, tt.on} {
			was := value(tt.get)
			if _, errno := w.eth(8, tt.set, v); errno != may(0) {
				t.Errorf("%#x %#x: %v", tt.set, v, errno)
			}
			if got := value(tt.get); w.privileged() && got != v || !w.privileged() && got != was {
				t.Errorf("%#x %#x: %#x", tt.set, v, got)
			}
		}
	}
	for _, tt := range []struct {
		words []uint32
		errno unix.Errno
	}{
		{[]uint32{unix.ETHTOOL_SUFO, 1}, unix.EOPNOTSUPP},
		{[]uint32{unix.ETHTOOL_SFLAGS, 1 << 7}, unix.EOPNOTSUPP}, // tx-vlan-hw-insert
		{[]uint32{unix.ETHTOOL_SFLAGS, 1<<15 | 1}, unix.EINVAL},  // no such flag
		{[]uint32{unix.ETHTOOL_SFEATURES, 0}, unix.EINVAL},       // not as many blocks
		{[]uint32{unix.ETHTOOL_SFEATURES, 1 << 31}, unix.EINVAL}, // nor so many
		{[]uint32{unix.ETHTOOL_SFEATURES, ^uint32(0)}, unix.EINVAL},
	} {
		if _, errno := w.eth(8, tt.words...); errno != may(tt.errno) {
			t.Errorf("%v: %v", tt.words, errno)
		}
	}
	if !w.privileged() {
		return
	}
	// SFEATURES tells what it did not do.
	b, _ := w.eth(8+32, unix.ETHTOOL_GFEATURES, 2)
	available, active := u32(b, 8), u32(b, 16)
	fixed := active &^ available
	addr := w.mem.Put(redirecttest.Put32(nil, unix.ETHTOOL_SFEATURES, 2, available|fixed, active&available|fixed, 0, 0), 0)
	if a := w.ioctl(filter.SIOCETHTOOL, "ib0", addr); a.Errno != 0 || a.Value != resultUnsupported {
		t.Errorf("SFEATURES: %v, %d", a.Errno, a.Value)
	}
}

// A structure that is not there, or ends early, is EFAULT and changes nothing.
func TestFaults(t *testing.T) {
	w := newWorld(t)
	before := w.s.IB0.Info()
	for cmd := range outcomes {
		if cmd == unix.ETHTOOL_FLASHDEV {
			continue // it has none that is looked at
		}
		size := 48
		if f := oneFeature[cmd]; f.set || cmd == unix.ETHTOOL_SFLAGS {
			size = 8 // more would be a change
		}
		for n := range size {
			b := redirecttest.Put32(nil, cmd, 20, 0xffffffff, 0xffffffff, 1, 1, 1, 1, 1, 1, 1, 1)[:n]
			a := w.ioctl(filter.SIOCETHTOOL, "ib0", w.mem.Put(b, 0))
			if n < 4 && a.Errno != unix.EFAULT || a.Continued {
				t.Errorf("%#x of %d bytes: %v", cmd, n, a.Errno)
			}
		}
		// With nothing but the command.
		a := w.ioctl(filter.SIOCETHTOOL, "ib0", w.mem.Put(redirecttest.Put32(nil, cmd), 0))
		want := unix.EFAULT
		if !w.privileged() && !slices.Contains(public, cmd) {
			// Some read first and judge then, as the kernel does.
			continue
		}
		if a.Errno != want {
			t.Errorf("%#x alone: %v", cmd, a.Errno)
		}
	}
	for _, addr := range []uint64{0, 1, 1 << 47, 1 << 63, ^uint64(0), ^uint64(0) - 3} {
		if a := w.ioctl(filter.SIOCETHTOOL, "ib0", addr); a.Errno != unix.EFAULT {
			t.Errorf("at %#x: %v", addr, a.Errno)
		}
	}
	if after := w.s.IB0.Info(); after.Coalesce != before.Coalesce || after.Features.Active != before.Features.Active {
		t.Errorf("changed: %+v %+v", after.Coalesce, after.Features)
	}
}

// What is not about an interface of the service is the kernel's.
func TestNotOurs(t *testing.T) {
	w := newWorld(t)
	data := w.mem.Put(redirecttest.Put32(nil, unix.ETHTOOL_GDRVINFO), 400)
	for _, name := range []string{"", "lo", "ib1", "ib0 ", strings.Repeat("i", 16)} {
		if a := w.ioctl(filter.SIOCETHTOOL, name, data); !a.Continued {
			t.Errorf("%q: %v", name, a.Errno)
		}
	}
	for _, arg := range []uint64{0, 1, ^uint64(0), w.req.Address(w.req.Len() - 4)} {
		if a := w.call(filter.SIOCETHTOOL, arg); !a.Continued {
			t.Errorf("ifreq at %#x: %v", arg, a.Errno)
		}
	}
	fd := w.fd
	w.fd = 1 << 20
	if a := w.ioctl(filter.SIOCETHTOOL, "ib0", data); !a.Continued {
		t.Errorf("no descriptor: %v", a.Errno)
	}
	w.fd = fd
	// A thread that is gone is not looked at.
	tr, a := redirecttest.Call(t, unix.SYS_IOCTL, uint64(fd), filter.SIOCETHTOOL, w.req.Put(append([]byte("ib0"), make([]byte, 37)...), 0))
	a.Gone = true
	if err := w.h.Handle(tr); err == nil || a.Count != 0 {
		t.Errorf("gone: %v", err)
	}
	w.s.Stop()
	if a := w.ioctl(filter.SIOCETHTOOL, "ib0", data); !a.Continued {
		t.Errorf("no service: %v", a.Errno)
	}
}

// Any call is answered once, whatever the program has in its memory.
func FuzzIoctl(f *testing.F) {
	w := newWorld(f)
	for _, cmd := range slices.Sorted(maps.Keys(outcomes)) {
		f.Add(uint32(filter.SIOCETHTOOL), "ib0", redirecttest.Put32(nil, cmd, 20, 0xffffffff, 0xffffffff), uint16(0))
		f.Add(uint32(filter.SIOCETHTOOL), "ib0", redirecttest.Put32(nil, cmd), uint16(512))
	}
	f.Add(uint32(filter.SIOCGIFHWADDR), "ib0\x00junk", []byte{}, uint16(0))
	f.Add(uint32(filter.SIOCGIFFLAGS), "\xff\xfe", []byte{1}, uint16(3))
	f.Fuzz(func(t *testing.T, req uint32, name string, data []byte, room uint16) {
		n := int(room) % 2048
		data = data[:min(len(data), w.mem.Len()-n)]
		ifr := make([]byte, ifreqLen)
		copy(ifr[:ifNameSize], name)
		native.PutUint64(ifr[ifNameSize:], w.mem.Put(data, n))
		tr, a := redirecttest.Call(t, unix.SYS_IOCTL, uint64(w.fd), uint64(req), w.req.Put(ifr, 0))
		_ = w.h.Handle(tr)
		if a.Count != 1 {
			t.Errorf("%d answers", a.Count)
		}
	})
}
