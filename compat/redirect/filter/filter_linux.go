package filter

import (
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Ioctls that are looked at, whatever the descriptor (uapi/linux/sockios.h).
const (
	SIOCGIFFLAGS  = 0x8913
	SIOCGIFHWADDR = 0x8927
	SIOCETHTOOL   = 0x8946
)

// Range is the descriptors that redirected sockets have: Lo <= fd < Hi.
type Range struct{ Lo, Hi int }

// Size of the range, and its upper end: select(2) takes descriptors below
// FD_SETSIZE only.
const (
	rangeSize = 64
	fdSetSize = 1024
)

// RangeFor returns the range below the soft limit of open files, RLIMIT_NOFILE.
func RangeFor(soft uint64) Range {
	hi := int(min(soft, fdSetSize))
	return Range{Lo: hi - min(rangeSize, hi/2), Hi: hi}
}

// Contains reports whether fd is in the range.
func (r Range) Contains(fd int) bool { return r.Lo <= fd && fd < r.Hi }

// String is the form that ParseRange reads.
func (r Range) String() string { return fmt.Sprintf("%d-%d", r.Lo, r.Hi) }

// ParseRange reads what String wrote.
func ParseRange(s string) (r Range, err error) {
	if _, err = fmt.Sscanf(s, "%d-%d", &r.Lo, &r.Hi); err != nil || r.Lo < 0 || r.Hi <= r.Lo {
		return Range{}, fmt.Errorf("%q is no range of descriptors", s)
	}
	return r, nil
}

// Offsets in struct seccomp_data. Arguments are 64 bits wide; the kernel looks
// at the lower half of descriptors and commands, and so does the program.
const (
	offNr   = 0
	offArch = 4
	offArgs = 16
)

// onRange are the calls that are answered for a descriptor of the range.
var onRange = []uint32{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_SENDTO, unix.SYS_RECVFROM, unix.SYS_SENDMSG, unix.SYS_RECVMSG,
	unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_SENDMMSG, unix.SYS_RECVMMSG, unix.SYS_DUP,
}

// Program returns the filter for this architecture; calls of others are
// allowed.
func Program(r Range) ([]bpf.RawInstruction, error) {
	var a assembler
	a.load(offArch)
	a.unless(auditArch, "allow")
	a.load(offNr)
	for _, nr := range onRange {
		a.when(nr, "fd")
	}
	a.when(unix.SYS_SOCKET, "socket")
	a.when(unix.SYS_IOCTL, "ioctl")
	a.when(unix.SYS_FCNTL, "fcntl")
	a.jump("allow")

	a.label("socket")
	a.load(arg(0))
	a.unless(unix.AF_NETLINK, "allow")
	a.load(arg(2))
	a.when(unix.NETLINK_ROUTE, "notify")
	a.when(unix.NETLINK_GENERIC, "notify")
	a.jump("allow")

	a.label("ioctl")
	a.load(arg(1))
	a.when(SIOCETHTOOL, "notify")
	a.when(SIOCGIFHWADDR, "notify")
	a.when(SIOCGIFFLAGS, "notify")
	a.jump("allow")

	a.label("fcntl")
	a.load(arg(1))
	a.when(unix.F_DUPFD, "fd")
	a.when(unix.F_DUPFD_CLOEXEC, "fd")
	a.jump("allow")

	a.label("fd")
	a.load(arg(0))
	a.below(uint32(r.Lo), "allow")
	a.below(uint32(r.Hi), "notify")

	a.label("allow")
	a.ret(unix.SECCOMP_RET_ALLOW)
	a.label("notify")
	a.ret(unix.SECCOMP_RET_USER_NOTIF)
	return a.assemble()
}

// arg is the offset of the lower half of argument n. All architectures that
// auditArch knows are little endian.
func arg(n int) uint32 { return uint32(offArgs + 8*n) }

// assembler collects instructions whose jumps go to labels further down.
type assembler struct {
	code   []bpf.Instruction
	jumps  []pending
	labels map[string]int
}

type pending struct {
	at     int
	target string
}

func (a *assembler) load(off uint32) {
	a.code = append(a.code, bpf.LoadAbsolute{Off: off, Size: 4})
}

func (a *assembler) ret(v uint32) { a.code = append(a.code, bpf.RetConstant{Val: v}) }

func (a *assembler) label(name string) {
	if a.labels == nil {
		a.labels = make(map[string]int)
	}
	a.labels[name] = len(a.code)
}

func (a *assembler) jumpIf(cond bpf.JumpTest, v uint32, target string) {
	a.jumps = append(a.jumps, pending{len(a.code), target})
	a.code = append(a.code, bpf.JumpIf{Cond: cond, Val: v})
}

func (a *assembler) when(v uint32, target string)   { a.jumpIf(bpf.JumpEqual, v, target) }
func (a *assembler) unless(v uint32, target string) { a.jumpIf(bpf.JumpNotEqual, v, target) }
func (a *assembler) below(v uint32, target string)  { a.jumpIf(bpf.JumpLessThan, v, target) }

func (a *assembler) jump(target string) {
	a.jumps = append(a.jumps, pending{len(a.code), target})
	a.code = append(a.code, bpf.Jump{})
}

func (a *assembler) assemble() ([]bpf.RawInstruction, error) {
	for _, j := range a.jumps {
		at, ok := a.labels[j.target]
		skip := at - j.at - 1
		if !ok || skip < 0 || skip > 255 {
			return nil, fmt.Errorf("filter: no way from instruction %d to %s", j.at, j.target)
		}
		switch i := a.code[j.at].(type) {
		case bpf.JumpIf:
			i.SkipTrue = uint8(skip)
			a.code[j.at] = i
		case bpf.Jump:
			i.Skip = uint32(skip)
			a.code[j.at] = i
		}
	}
	return bpf.Assemble(a.code)
}
