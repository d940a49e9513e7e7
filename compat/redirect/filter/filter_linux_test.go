package filter

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// run runs the program on a call. The virtual machine reads big-endian
// numbers, the kernel reads seccomp_data in host byte order: each 32-bit field
// is put where the program looks for it.
func run(t *testing.T, prog []bpf.RawInstruction, arch, nr uint32, args ...uint64) int {
	t.Helper()
	insns, ok := bpf.Disassemble(prog)
	if !ok {
		t.Fatal("the program does not disassemble")
	}
	vm, err := bpf.NewVM(insns)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[offNr:], nr)
	binary.BigEndian.PutUint32(data[offArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[offArgs+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[offArgs+8*i+4:], uint32(a>>32))
	}
	v, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestProgram(t *testing.T) {
	r := Range{960, 1024}
	prog, err := Program(r)
	if err != nil {
		t.Fatal(err)
	}
	neg := ^uint64(0)
	for _, tt := range []struct {
		name   string
		arch   uint32
		nr     uint32
		args   []uint64
		notify bool
	}{
		{"rtnetlink socket", auditArch, unix.SYS_SOCKET, []uint64{16, 3, 0}, true},
		{"generic socket", auditArch, unix.SYS_SOCKET, []uint64{16, 3 | unix.SOCK_CLOEXEC, 16}, true},
		{"uevent socket", auditArch, unix.SYS_SOCKET, []uint64{16, 3, 15}, false},
		{"udp socket", auditArch, unix.SYS_SOCKET, []uint64{2, 2, 0}, false},
		{"other architecture", 0x40000003, unix.SYS_SOCKET, []uint64{16, 3, 0}, false},
		{"ethtool ioctl", auditArch, unix.SYS_IOCTL, []uint64{3, SIOCETHTOOL, 0}, true},
		{"ethtool ioctl, upper half", auditArch, unix.SYS_IOCTL, []uint64{3, 1<<32 | SIOCETHTOOL, 0}, true},
		{"address ioctl", auditArch, unix.SYS_IOCTL, []uint64{3, SIOCGIFHWADDR, 0}, true},
		{"flags ioctl", auditArch, unix.SYS_IOCTL, []uint64{3, SIOCGIFFLAGS, 0}, true},
		{"terminal ioctl", auditArch, unix.SYS_IOCTL, []uint64{0, unix.TCGETS, 0}, false},
		{"read below", auditArch, unix.SYS_READ, []uint64{959}, false},
		{"read first", auditArch, unix.SYS_READ, []uint64{960}, true},
		{"write last", auditArch, unix.SYS_WRITE, []uint64{1023}, true},
		{"write above", auditArch, unix.SYS_WRITE, []uint64{1024}, false},
		{"write to -1", auditArch, unix.SYS_WRITE, []uint64{neg}, false},
		{"recvmmsg", auditArch, unix.SYS_RECVMMSG, []uint64{1000}, true},
		{"sendmmsg", auditArch, unix.SYS_SENDMMSG, []uint64{1000}, true},
		{"dup", auditArch, unix.SYS_DUP, []uint64{1000}, true},
		{"fcntl F_DUPFD", auditArch, unix.SYS_FCNTL, []uint64{1000, unix.F_DUPFD, 0}, true},
		{"fcntl F_DUPFD_CLOEXEC", auditArch, unix.SYS_FCNTL, []uint64{1000, unix.F_DUPFD_CLOEXEC, 0}, true},
		{"fcntl F_DUPFD below", auditArch, unix.SYS_FCNTL, []uint64{3, unix.F_DUPFD, 0}, false},
		{"fcntl F_GETFL", auditArch, unix.SYS_FCNTL, []uint64{1000, unix.F_GETFL}, false},
		{"bind", auditArch, unix.SYS_BIND, []uint64{1000}, false},
		{"close", auditArch, unix.SYS_CLOSE, []uint64{1000}, false},
		{"getppid", auditArch, unix.SYS_GETPPID, nil, false},
	} {
		want := unix.SECCOMP_RET_ALLOW
		if tt.notify {
			want = unix.SECCOMP_RET_USER_NOTIF
		}
		if got := run(t, prog, tt.arch, tt.nr, tt.args...); got != want {
			t.Errorf("%s: %#x, not %#x", tt.name, got, want)
		}
	}
	if n := len(prog); n > 64 {
		t.Errorf("the program has %d instructions", n)
	}
}

func TestRange(t *testing.T) {
	for soft, want := range map[uint64]Range{
		1024: {960, 1024}, 1 << 20: {960, 1024}, 256: {192, 256}, 64: {32, 64}, ^uint64(0): {960, 1024},
	} {
		got := RangeFor(soft)
		if got != want {
			t.Errorf("RangeFor(%d) = %v, not %v", soft, got, want)
		}
		if back, err := ParseRange(got.String()); err != nil || back != got {
			t.Errorf("ParseRange(%q) = %v, %v", got.String(), back, err)
		}
		if got.Contains(got.Lo-1) || !got.Contains(got.Lo) || !got.Contains(got.Hi-1) || got.Contains(got.Hi) {
			t.Errorf("Contains of %v", got)
		}
	}
	for _, s := range []string{"", "5", "9-3", "-1-5", "x-y"} {
		if r, err := ParseRange(s); err == nil {
			t.Errorf("ParseRange(%q) = %v", s, r)
		}
	}
}
