package rtnl_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"ipoib/nl"
	"ipoib/nl/nltest"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// TestKernel sends the same requests to the running kernel and to a table
// with the same rules for links, and compares the answers byte for byte. None
// of them names a device that exists or changes anything.
func TestKernel(t *testing.T) {
	const dump = netlink.Dump
	const ack = netlink.Acknowledge
	noDevice := append(make([]byte, 4), 0xfe, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0)
	long := func(e *nl.Encoder) { e.String(ifName, strings.Repeat("n", 16)) }
	unknown := func(e *nl.Encoder) { e.U32(200, 1) }
	for name, b := range map[string][]byte{
		"no device":                     msg(getLink, 0, noDevice, nil),
		"no device, ack":                msg(getLink, ack, noDevice, nil),
		"neither index nor name":        msg(getLink, ack, ifi(0), nil),
		"name too long":                 msg(getLink, 0, ifi(0), long),
		"unknown attribute":             msg(getLink, 0, noDevice, unknown),
		"mask too short":                msg(getLink, 0, noDevice, func(e *nl.Encoder) { e.U16(extMask, 1) }),
		"trailing bytes":                msg(getLink, 0, noDevice, func(e *nl.Encoder) { e.Raw([]byte{1, 0, 0, 0}) }),
		"no family":                     msg(getLink, ack, nil, nil),
		"no family, no ack":             msg(getLink, 0, nil, nil),
		"type above all":                msg(500, ack, noDevice, nil),
		"type above all, dump":          msg(502, dump, noDevice, nil),
		"unassigned type":               msg(54, 0, noDevice, nil),
		"unassigned type, dump":         msg(54, dump, noDevice, nil),
		"two requests":                  append(msg(getLink, 0, noDevice, nil), msg(500, ack, nil, nil)...),
		"strict: dump of one device":    msg(getLink, dump, noDevice, nil),
		"strict: unknown attribute":     msg(getLink, 0, noDevice, unknown),
		"strict: name too long":         msg(getLink, 0, ifi(0), long),
		"strict: trailing bytes":        msg(getLink, 0, noDevice, func(e *nl.Encoder) { e.Raw([]byte{1, 0, 0, 0}) }),
		"strict: dump of one, with ack": msg(getLink, dump|ack, noDevice, nil),
		"bulk deletion of a device":     msg(delLink, 0x200, noDevice, nil),
	} {
		for _, opts := range []nl.ConnConfig{{}, {ExtAck: true}, {CapAck: true}, {ExtAck: true, CapAck: true}} {
			opts.StrictCheck = strings.HasPrefix(name, "strict")
			if strings.HasPrefix(name, "bulk") && os.Geteuid() != 0 {
				continue
			}
			want, port := askKernel(t, opts, b)
			opts.PortID = port
			got := askService(t, opts, b)
			if !bytes.Equal(bytes.Join(got, nil), bytes.Join(want, nil)) || len(got) != len(want) {
				t.Errorf("%s, %+v:\nservice %skernel  %s", name, opts,
					nl.FormatDatagram(nl.ProtoRoute, bytes.Join(got, nil)), nl.FormatDatagram(nl.ProtoRoute, bytes.Join(want, nil)))
			}
		}
	}
}

const markSeq = 0x7fffffff

func mark() []byte {
	var e nl.Encoder
	_ = e.Message(netlink.Header{
		Type: netlink.Noop, Flags: netlink.Request | netlink.Acknowledge, Sequence: markSeq,
	}, nil)
	return e.Bytes()
}

// untilMark reads until the answer to mark; all that is asked here is
// answered in order.
func untilMark(t *testing.T, read func() ([]byte, error)) [][]byte {
	t.Helper()
	var out [][]byte
	for {
		b, err := read()
		if err != nil {
			t.Fatal(err)
		}
		if nl.ParseHeader(b).Sequence == markSeq {
			return out
		}
		out = append(out, b)
	}
}

func askKernel(t *testing.T, cfg nl.ConnConfig, req []byte) ([][]byte, uint32) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		t.Skipf("no NETLINK_ROUTE: %v", err)
	}
	defer unix.Close(fd)
	for opt, on := range map[int]bool{
		unix.NETLINK_EXT_ACK: cfg.ExtAck, unix.NETLINK_CAP_ACK: cfg.CapAck, unix.NETLINK_GET_STRICT_CHK: cfg.StrictCheck,
	} {
		if on {
			if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, opt, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	tv := unix.NsecToTimeval(int64(5 * time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		t.Fatal(err)
	}
	to := &unix.SockaddrNetlink{Family: unix.AF_NETLINK}
	if err := unix.Bind(fd, to); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{req, mark()} {
		if err := unix.Sendto(fd, b, 0, to); err != nil {
			t.Fatal(err)
		}
	}
	return untilMark(t, func() ([]byte, error) {
		b := make([]byte, 64<<10)
		n, _, err := unix.Recvfrom(fd, b, 0)
		return b[:max(n, 0)], err
	}), sa.(*unix.SockaddrNetlink).Pid
}

func askService(t *testing.T, cfg nl.ConnConfig, req []byte) [][]byte {
	t.Helper()
	_, srv := newTable(t)
	peer := nltest.NewPeer()
	peer.SetCaps(nl.CapNetAdmin)
	c := dial(t, srv, peer, cfg)
	for _, b := range [][]byte{req, mark()} {
		if err := c.WriteDatagram(b); err != nil {
			t.Fatal(err)
		}
	}
	return untilMark(t, func() ([]byte, error) {
		d, err := c.ReadDatagram()
		return d.Bytes, err
	})
}
