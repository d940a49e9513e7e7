//go:build integration

package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() { helpers["ioctl"] = ioctlHelper }

// ioctlHelper asks for an interface by the ioctls that programs of the time
// before netlink use, and prints the answers as JSON.
func ioctlHelper(args []string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	call := func(req uintptr, data []byte) (int, []byte, error) {
		var ifr [40]byte
		copy(ifr[:], args[0])
		if data != nil {
			ne.PutUint64(ifr[16:], uint64(uintptr(unsafe.Pointer(&data[0]))))
		}
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(unsafe.Pointer(&ifr)))
		if errno != 0 {
			return 0, ifr[16:], errno
		}
		return int(n), ifr[16:], nil
	}
	eth := func(size int, words ...uint32) ([]byte, error) {
		b := make([]byte, size)
		for i, w := range words {
			ne.PutUint32(b[4*i:], w)
		}
		_, _, err := call(unix.SIOCETHTOOL, b)
		return b, err
	}
	value := func(cmd uint32) (uint32, error) {
		b, err := eth(8, cmd)
		return ne.Uint32(b[4:]), err
	}
	out := make(map[string]any)
	_, hw, err := call(unix.SIOCGIFHWADDR, nil)
	if err != nil {
		return fmt.Errorf("SIOCGIFHWADDR: %w", err)
	}
	out["hwtype"], out["hwaddr"] = ne.Uint16(hw), fmt.Sprintf("%x", hw[2:16])
	_, flags, err := call(unix.SIOCGIFFLAGS, nil)
	if err != nil {
		return fmt.Errorf("SIOCGIFFLAGS: %w", err)
	}
	out["flags"] = ne.Uint16(flags)
	b, err := eth(44, unix.ETHTOOL_GSET)
	if err != nil {
		return fmt.Errorf("GSET: %w", err)
	}
	out["gset"] = []uint32{uint32(ne.Uint16(b[12:])) | uint32(ne.Uint16(b[28:]))<<16, uint32(b[14]), uint32(b[15])}
	if b, err = eth(48, unix.ETHTOOL_GLINKSETTINGS); err != nil {
		return fmt.Errorf("GLINKSETTINGS: %w", err)
	}
	words := -int(int8(b[15]))
	b = make([]byte, 48+3*4*words)
	ne.PutUint32(b, unix.ETHTOOL_GLINKSETTINGS)
	b[15] = byte(words)
	if _, _, err := call(unix.SIOCETHTOOL, b); err != nil {
		return fmt.Errorf("GLINKSETTINGS: %w", err)
	}
	out["glinksettings"] = []uint32{ne.Uint32(b[4:]), uint32(b[8]), uint32(b[9]), uint32(words)}
	for name, cmd := range map[string]uint32{
		"glink": unix.ETHTOOL_GLINK, "gtso": unix.ETHTOOL_GTSO, "gsg": unix.ETHTOOL_GSG, "gtxcsum": unix.ETHTOOL_GTXCSUM,
		"grxcsum": unix.ETHTOOL_GRXCSUM, "gufo": unix.ETHTOOL_GUFO, "gflags": unix.ETHTOOL_GFLAGS,
	} {
		if out[name], err = value(cmd); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if b, err = eth(40, unix.ETHTOOL_GPERMADDR, 32); err != nil {
		return fmt.Errorf("GPERMADDR: %w", err)
	}
	out["permaddr"] = fmt.Sprintf("%x", b[8:8+ne.Uint32(b[4:])])
	if b, err = eth(44, unix.ETHTOOL_GET_TS_INFO); err != nil {
		return fmt.Errorf("GET_TS_INFO: %w", err)
	}
	out["tsinfo"] = []uint32{ne.Uint32(b[4:]), ne.Uint32(b[8:])}
	// Changes, and what the driver does not have.
	errno := func(size int, words ...uint32) string {
		_, err := eth(size, words...)
		if err == nil {
			return "ok"
		}
		return err.Error()
	}
	out["stso"] = errno(8, unix.ETHTOOL_STSO, 0)
	if out["gtso after"], err = value(unix.ETHTOOL_GTSO); err != nil {
		return err
	}
	out["sflags"] = errno(8, unix.ETHTOOL_SFLAGS, 1<<15)
	if out["gflags after"], err = value(unix.ETHTOOL_GFLAGS); err != nil {
		return err
	}
	out["sflags bad"] = errno(8, unix.ETHTOOL_SFLAGS, 1<<15|1)
	out["sufo"] = errno(8, unix.ETHTOOL_SUFO, 1)
	out["scoalesce"] = errno(92, unix.ETHTOOL_SCOALESCE, 5, 6)
	out["scoalesce bad"] = errno(92, unix.ETHTOOL_SCOALESCE, 5, 6, 7)
	b, err = eth(92, unix.ETHTOOL_GCOALESCE)
	if err != nil {
		return err
	}
	out["gcoalesce"] = []uint32{ne.Uint32(b[4:]), ne.Uint32(b[8:])}
	out["gringparam"] = errno(36, unix.ETHTOOL_GRINGPARAM)
	out["gregs"] = errno(64, unix.ETHTOOL_GREGS)
	out["phys_id"] = errno(8, unix.ETHTOOL_PHYS_ID, 1)
	out["fault"] = "none"
	var ifr [40]byte
	copy(ifr[:], args[0])
	ne.PutUint64(ifr[16:], 8)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifr))); e != 0 {
		out["fault"] = e.Error()
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// Programs that use ioctls see what those with netlink see.
func TestExecIoctl(t *testing.T) {
	l := newLab(t).up(1)
	out := l.helper(1, "ioctl", "ib0")
	var got map[string]any
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var links []struct{ Address string }
	if err := json.Unmarshal([]byte(l.on(1, "ipoib", "-j", "link", "show", "ib0")), &links); err != nil {
		t.Fatal(err)
	}
	addr := strings.ReplaceAll(links[0].Address, ":", "")
	up := float64(unix.IFF_UP | unix.IFF_BROADCAST | unix.IFF_MULTICAST | unix.IFF_RUNNING)
	for name, want := range map[string]any{
		"hwtype": 32.0, "hwaddr": addr[:28], "permaddr": addr, "flags": up,
		"gset": []any{100000.0, 1.0, 255.0}, "glinksettings": []any{100000.0, 1.0, 255.0, 3.0},
		"glink": 1.0, "gtso": 1.0, "gsg": 1.0, "gtxcsum": 1.0, "grxcsum": 1.0, "gufo": 0.0, "gflags": 0.0,
		"tsinfo": []any{24.0, 4294967295.0},
		"stso":   "ok", "gtso after": 0.0, "sflags": "ok", "gflags after": float64(1 << 15),
		"sflags bad": "invalid argument", "sufo": "operation not supported",
		"scoalesce": "ok", "scoalesce bad": "operation not supported", "gcoalesce": []any{5.0, 6.0},
		"gringparam": "operation not supported", "gregs": "operation not supported",
		"phys_id": "operation not supported", "fault": "bad address",
	} {
		if fmt.Sprint(got[name]) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
}
