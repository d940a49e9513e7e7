package iproute

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/netlink"

	"ipoib/nl"
	"ipoib/nl/rtlink"
)

// fakeService answers like a service whose links are known, refuses what it is
// told to, and records what it was sent.
type fakeService struct {
	// links are full link messages, by name.
	links []*rtlink.Link
	// refuse is the answer to changes: nil is success.
	refuse *nl.Error
	// events are sent once a dump was made, then the socket ends.
	events [][]byte
	// sent is the messages of all sockets in order, as fixture lines.
	sent    []string
	sockets int
}

func (f *fakeService) dial(_ string, cfg nl.ConnConfig) (Socket, error) {
	s := &fakeSocket{f: f, n: f.sockets, cfg: cfg}
	f.sockets++
	f.sent = append(f.sent, fmt.Sprintf("bind %d %#x", s.n, cfg.Groups))
	return s, nil
}

type fakeSocket struct {
	f     *fakeService
	n     int
	cfg   nl.ConnConfig
	queue [][]byte
}

const fakePort = 4711

func (s *fakeSocket) PortID() uint32 { return fakePort }

func (s *fakeSocket) Close() error { return nil }

func (s *fakeSocket) JoinGroup(g uint32) error {
	s.f.sent = append(s.f.sent, fmt.Sprintf("join %d %d", s.n, g))
	return nil
}

func (s *fakeSocket) ReadDatagram() (nl.Datagram, error) {
	if len(s.queue) == 0 {
		return nl.Datagram{}, io.EOF
	}
	b := s.queue[0]
	s.queue = s.queue[1:]
	if b == nil {
		return nl.Datagram{}, syscall.ENOBUFS
	}
	return nl.Datagram{Bytes: b, NSID: -1}, nil
}

func (s *fakeSocket) WriteDatagram(b []byte) error {
	s.f.sent = append(s.f.sent, fmt.Sprintf("%d %s", s.n, maskMessage(b)))
	h := nl.ParseHeader(b)
	body := b[nl.HeaderLen:]
	switch {
	case h.Type == rtlink.GetLink && h.Flags&netlink.Dump == netlink.Dump:
		for _, l := range s.f.links {
			s.reply(h, rtlink.NewLink, netlink.Multi, l.Append)
		}
		s.reply(h, netlink.Done, netlink.Multi, func(e *nl.Encoder) { e.Raw(make([]byte, 4)) })
		s.queue = append(s.queue, s.f.events...)
	case h.Type == rtlink.GetLink:
		if l := s.f.find(body); l != nil {
			s.reply(h, rtlink.NewLink, 0, l.Append)
		} else {
			s.error(h, b, &nl.Error{Code: syscall.ENODEV})
		}
	case h.Type == rtlink.GetNSID:
		s.reply(h, rtlink.NewNSID, 0, func(e *nl.Encoder) {
			e.Raw(make([]byte, 4))
			e.S32(rtlink.NSIDAttrNSID, -1)
		})
	case h.Type == rtlink.NewLink && len(body) == rtlink.HeaderLen && bytes.Equal(body, make([]byte, rtlink.HeaderLen)):
		s.error(h, b, &nl.Error{Code: syscall.ENODEV})
	case s.f.refuse != nil:
		s.error(h, b, s.f.refuse)
	case h.Flags&netlink.Acknowledge != 0:
		s.error(h, b, nil)
	}
	return nil
}

// find returns the link that a RTM_GETLINK is about.
func (f *fakeService) find(body []byte) *rtlink.Link {
	q, err := rtlink.Decode(body)
	if err != nil {
		return nil
	}
	name := q.Name
	for _, r := range q.Other {
		if r.Type == rtlink.AttrAltIfname {
			name = nl.Attr{Data: r.Data}.String()
		}
	}
	for _, l := range f.links {
		if l.Index == q.Index || name != "" && (l.Name == name || strings.Contains(strings.Join(l.AltNames, " "), name)) {
			return l
		}
	}
	return nil
}

func (s *fakeSocket) reply(h netlink.Header, t netlink.HeaderType, flags netlink.HeaderFlags, fill func(*nl.Encoder)) {
	var e nl.Encoder
	_ = e.Message(netlink.Header{Type: t, Flags: flags, Sequence: h.Sequence, PID: fakePort}, func(e *nl.Encoder) error {
		fill(e)
		return nil
	})
	s.queue = append(s.queue, e.Bytes())
}

// error is an acknowledgement, or an error with the request and an extended
// ack.
func (s *fakeSocket) error(h netlink.Header, req []byte, err *nl.Error) {
	flags := flagCapped
	if err != nil {
		flags = 0
		if err.Msg != "" {
			flags = flagAckTLVs
		}
	}
	s.reply(h, netlink.Error, flags, func(e *nl.Encoder) {
		if err == nil {
			e.Raw(make([]byte, 4))
			e.Raw(req[:nl.HeaderLen])
			return
		}
		var num nl.Encoder
		num.S32(0, -int32(err.Code))
		e.Raw(num.Bytes()[4:])
		e.Raw(req)
		if err.Msg != "" {
			e.String(nl.ExtAckMsg, err.Msg)
		}
	})
}

// maskMessage prints a message without what differs from run to run: the
// sequence number and descriptors.
func maskMessage(b []byte) string {
	b = bytes.Clone(b)
	clear(b[8:12])
	h := nl.ParseHeader(b)
	first, fd := nl.HeaderLen+rtlink.HeaderLen, uint16(rtlink.AttrNetNSFD)
	if h.Type == rtlink.GetNSID {
		first, fd = nl.HeaderLen+4, rtlink.NSIDAttrFD
	}
	if len(b) > first {
		for a := range rtlink.Attrs(b[first:]) {
			if a.Type == fd {
				clear(a.Data)
			}
		}
	}
	return fmt.Sprintf("%x", b)
}

// fakeHost is a system with two named namespaces and the kernel's lo.
type fakeHost struct{ files map[string]string }

func (fakeHost) EnterNetNS(name string) error {
	return fmt.Errorf("no namespace %s here", name)
}

func (fakeHost) OpenNetNS(name string) (*os.File, error) {
	if name != "ns1" {
		return nil, os.ErrNotExist
	}
	return os.Open(os.DevNull)
}

func (fakeHost) NetNSNames() []string { return []string{"ns1"} }

func (fakeHost) Link(name string) (uint32, string) {
	switch name {
	case "lo":
		return 1, ""
	case "blue":
		return 9, "vrf"
	}
	return 0, ""
}

func (fakeHost) Ifname(index uint32) string {
	if index == 1 {
		return "lo"
	}
	return ""
}

func (fakeHost) Groups() map[uint32]string { return nil }

func (h fakeHost) Open(name string) (io.ReadCloser, error) {
	if text, ok := h.files[name]; ok {
		return io.NopCloser(strings.NewReader(text)), nil
	}
	return nil, &os.PathError{Op: "open", Path: name, Err: syscall.ENOENT}
}

// runFake runs a command line against a made-up service.
func runFake(f *fakeService, args ...string) outcome { return runWith(f, fakeHost{}, args...) }

// runWith is runFake on a host of its own.
func runWith(f *fakeService, host Host, args ...string) outcome {
	var out, errOut bytes.Buffer
	env := Env{
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errOut, Dial: f.dial, Host: host,
		Now:     func() time.Time { return time.Date(2026, 11, 22, 21, 4, 46, 65142000, time.UTC) },
		Version: "1.2.3",
	}
	code := Run(args, env)
	return outcome{out.String(), errOut.String(), code}
}

// ib returns an IPoIB link as the service has it.
func ib(name string, index int32, parent uint32) *rtlink.Link {
	l := &rtlink.Link{
		Type: rtlink.TypeInfiniBand, Index: index, Name: name,
		Flags: rtlink.FlagUp | rtlink.FlagBroadcast | rtlink.FlagMulticast | rtlink.FlagRunning | rtlink.FlagLowerUp,
		MTU:   new(uint32(2044)), Qdisc: "fq_codel", Operstate: new(rtlink.OperUp), Linkmode: new(uint8(0)),
		Group: new(uint32(0)), TxQueueLen: new(uint32(256)),
		Address: bytes.Repeat([]byte{0x80}, 20), Broadcast: bytes.Repeat([]byte{0xff}, 20),
		Info: &rtlink.Info{Kind: rtlink.KindIPoIB},
	}
	d := rtlink.IPoIB{PKey: new(uint16(0x8001)), Mode: new(uint16(0)), Umcast: new(uint16(0))}
	l.Info.Data = d.Bytes()
	if parent != 0 {
		l.Link = &parent
	}
	return l
}

func TestStrerror(t *testing.T) {
	for err, want := range map[error]string{
		syscall.EPERM: "Operation not permitted", syscall.EOPNOTSUPP: "Operation not supported",
		syscall.ENODEV: "No such device", syscall.ENOTUNIQ: "Name not unique on network",
		syscall.EEXIST: "File exists", syscall.ERANGE: "Numerical result out of range",
		fmt.Errorf("dial: %w", syscall.ENOENT): "No such file or directory",
		errors.New("other"):                    "other",
	} {
		if got := strerror(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
