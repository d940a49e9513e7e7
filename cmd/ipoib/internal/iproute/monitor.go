package iproute

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"

	"ipoib/cmd/ipoib/internal/linkfmt"
	"ipoib/nl"
	"ipoib/nl/rtlink"
)

// Groups of rtnetlink by object (RTNLGRP_*). The service tells of links only;
// the other groups are joined as ip joins them.
const (
	groupNextHop = 32
	groupStats   = 36
)

// monitorObjects are the objects of `ip monitor` in the order in which ip
// looks for abbreviations, with the groups of each by family.
var monitorObjects = []struct {
	name   string
	exact  bool
	any    []uint32
	family map[uint8]uint32
}{
	{name: "link", any: []uint32{rtlink.Group}},
	{name: "address", family: map[uint8]uint32{afInet: 5, afInet6: 9}},
	{name: "route", family: map[uint8]uint32{afInet: 7, afInet6: 11, afMPLS: 27}},
	{name: "mroute", family: map[uint8]uint32{afInet: 6, afInet6: 10}},
	{name: "prefix", family: map[uint8]uint32{afInet6: 18}},
	{name: "neigh", any: []uint32{3}},
	{name: "netconf", family: map[uint8]uint32{afInet: 24, afInet6: 25, afMPLS: 29}},
	{name: "rule", family: map[uint8]uint32{afInet: 8, afInet6: 19}},
	{name: "nsid", any: []uint32{28}},
	{name: "nexthop"},
	{name: "stats", exact: true},
}

// monitorArgs are the words of `monitor`.
type monitorArgs struct {
	file       string
	label, all bool
	objects    map[string]bool
	filter     linkfmt.Filter
}

func (s *session) parseMonitor(words []string) (out monitorArgs, err error) {
	out.objects = make(map[string]bool)
	for a := (&args{s: s, list: words}); len(a.list) > 0; a.step() {
		word := a.word()
		switch {
		case matches(word, "file"):
			if out.file, err = a.next(); err != nil {
				return out, err
			}
		case matches(word, "label"):
			out.label = true
		case monitorObject(word) != "":
			out.objects[monitorObject(word)] = true
		case word == "all":
			out.label = true
		case matches(word, "all-nsid"):
			out.all = true
		case matches(word, "help"):
			s.errorf("%s", monitorUsage)
			return out, fatal(255)
		case word == "dev":
			if word, err = a.next(); err != nil {
				return out, err
			}
			if out.filter.Ifindex = int32(s.ifindex(word)); out.filter.Ifindex == 0 {
				return out, s.invalid("Device does not exist\n", word)
			}
		default:
			s.errorf("Argument \"%s\" is unknown, try \"ip monitor help\".\n", word)
			return out, fatal(255)
		}
	}
	return out, nil
}

// monitorObject finds an object by its abbreviation. "all" is none, though it
// could be short for nothing else.
func monitorObject(word string) string {
	for _, o := range monitorObjects {
		if word == o.name || !o.exact && matches(word, o.name) {
			return o.name
		}
	}
	return ""
}

// groups returns the bit mask of the groups to bind, and whether those above
// 32 are wanted.
func (m *monitorArgs) groups(family uint8) (mask uint32, nextHop, stats bool) {
	for _, o := range monitorObjects {
		if len(m.objects) > 0 && !m.objects[o.name] {
			continue
		}
		for _, g := range o.any {
			mask |= 1 << (g - 1)
		}
		for f, g := range o.family {
			if family == 0 || family == f {
				mask |= 1 << (g - 1)
			}
		}
		nextHop = nextHop || o.name == "nexthop"
		stats = stats || o.name == "stats"
	}
	return mask, nextHop, stats
}

// monitor is `ip monitor` (ip/ipmonitor.c: do_ipmonitor).
func (s *session) monitor(words []string) error {
	if s.rth != nil {
		_ = s.rth.sock.Close()
		s.rth = nil
	}
	m, err := s.parseMonitor(words)
	if err != nil {
		return err
	}
	if m.file != "" {
		return s.monitorFile(&m)
	}
	mask, nextHop, stats := m.groups(s.o.family)
	h, err := s.dial(nl.ConnConfig{Groups: mask, ListenAllNSID: m.all})
	if err != nil {
		return s.noSocket(err)
	}
	h.events = true
	s.rth = h
	if nextHop && h.sock.JoinGroup(groupNextHop) != nil {
		s.errorf("Failed to add nexthop group to list\n")
		return fatal(1)
	}
	if stats && h.sock.JoinGroup(groupStats) != nil && m.objects["stats"] {
		s.errorf("Failed to add stats group to list\n")
		return fatal(1)
	}
	all := getRequest(0, 0, func(e *nl.Encoder) { e.U32(rtlink.AttrExtMask, rtlink.FilterVF) })
	all.flags |= netlink.Dump
	if err := s.dump(h, all, func(m *message) { _, _ = s.decode(m) }); err != nil {
		s.errorf("Dump terminated\n")
		return fatal(1)
	}
	s.readNSIDs()
	return s.listen(&m)
}

// listen prints events until the socket fails (rtnl_listen).
func (s *session) listen(m *monitorArgs) error {
	for {
		d, err := s.rth.sock.ReadDatagram()
		var num syscall.Errno
		switch {
		case err == nil:
			for _, msg := range messages(d.Bytes) {
				s.event(m, &msg, d.NSID)
			}
		case errors.Is(err, syscall.EINTR), errors.Is(err, syscall.EAGAIN):
		case errors.Is(err, syscall.ENOBUFS):
			s.errorf("netlink receive error %s (%d)\n", strerror(err), int(syscall.ENOBUFS))
		case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
			s.errorf("EOF on netlink\n")
			return fatal(2)
		default:
			errors.As(err, &num)
			s.errorf("netlink receive error %s (%d)\n", strerror(err), int(num))
			return fatal(2)
		}
	}
}

// event prints one message (ip/ipmonitor.c: accept_msg).
func (s *session) event(m *monitorArgs, msg *message, nsid int32) {
	switch msg.Type {
	case rtlink.NewLink, rtlink.DelLink:
		l, err := s.decode(msg)
		if err != nil {
			return
		}
		s.eventHeader(m, "[LINK]", nsid)
		s.out.Link(l, msg.Type == rtlink.DelLink, m.filter)
		_ = s.out.Flush()
	case netlink.Noop, netlink.Error, netlink.Done, rtlink.NewNSID, rtlink.DelNSID:
	case timestampType:
		s.recordedTime(msg)
	default:
		s.errorf("Unknown message: type=0x%08x(%d) flags=0x%08x(%d) len=0x%08x(%d)\n",
			uint16(msg.Type), uint16(msg.Type), uint16(msg.Flags), uint16(msg.Flags), msg.Length, msg.Length)
	}
}

// asctime is the layout of asctime(3).
const asctime = "Mon Jan _2 15:04:05 2006"

func (s *session) eventHeader(m *monitorArgs, label string, nsid int32) {
	if s.o.timestamp > 0 {
		now := s.env.Now()
		usec := now.Nanosecond() / 1000
		if s.o.timestampFull {
			s.out.Text(fmt.Sprintf("Timestamp: %s %d usec\n", now.Format(asctime), usec))
		} else {
			s.out.Text(fmt.Sprintf("[%s.%06d] ", now.Format("2006-01-02T15:04:05"), usec))
		}
	}
	if m.all {
		if nsid < 0 {
			s.out.Text("[nsid current]")
		} else {
			s.out.Text(fmt.Sprintf("[nsid %d]", nsid))
		}
	}
	if m.label {
		s.out.Text(label)
	}
}

// timestampType is NLMSG_TSTAMP of rtmon: seconds and microseconds.
const timestampType netlink.HeaderType = 15

func (s *session) recordedTime(msg *message) {
	if len(msg.data) < 8 {
		return
	}
	sec := binary.NativeEndian.Uint32(msg.data)
	usec := binary.NativeEndian.Uint32(msg.data[4:])
	at := time.Unix(int64(sec), 0).In(s.env.Now().Location())
	s.out.Text(fmt.Sprintf("Timestamp: %s %d us\n", at.Format(asctime), usec))
}

// monitorFile prints messages that rtmon recorded (rtnl_from_file).
func (s *session) monitorFile(m *monitorArgs) error {
	f, err := s.env.Host.Open(m.file)
	if err != nil {
		s.errorf("Cannot fopen: %s\n", strerror(err))
		return fatal(255)
	}
	defer func() { _ = f.Close() }()
	for {
		var h [nl.HeaderLen]byte
		switch _, err := io.ReadFull(f, h[:]); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			s.errorf("rtnl-from_file: truncated message\n")
			return errFailed
		}
		n := int(nl.ParseHeader(h[:]).Length)
		if n < nl.HeaderLen || n > nl.MaxDatagram {
			s.errorf("!!!malformed message: len=%d @0\n", n)
			return errFailed
		}
		b := append(h[:], make([]byte, nl.Align(n)-nl.HeaderLen)...)
		if _, err := io.ReadFull(f, b[nl.HeaderLen:]); err != nil {
			s.errorf("rtnl-from_file: truncated message\n")
			return errFailed
		}
		for _, msg := range messages(b) {
			s.event(m, &msg, -1)
		}
	}
}
