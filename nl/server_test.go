package nl_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/nl"
	"ipoib/nl/nltest"

	"github.com/mdlayher/netlink"
)

// connect says hello with a config that is expected to fail.
func connect(srv *nl.Server, peer *nltest.Peer, cfg nl.ConnConfig) error {
	c, err := nltest.Connect(srv, peer, cfg)
	if err == nil {
		c.Close()
	}
	return err
}

func TestHello(t *testing.T) {
	_, srv := newToy(t, nl.Config{})
	admin := nltest.NewPeer()
	admin.SetCaps(nl.CapNetAdmin, nl.CapNetBroadcast)
	for _, c := range []struct {
		name string
		peer *nltest.Peer
		cfg  nl.ConnConfig
		want error
	}{
		{"no options", nltest.NewPeer(), nl.ConnConfig{Protocol: toyProto}, nil},
		{"protocol", nltest.NewPeer(), nl.ConnConfig{Protocol: 99}, syscall.EPROTONOSUPPORT},
		{"open group", nltest.NewPeer(), nl.ConnConfig{Protocol: toyProto, Groups: 1}, nil},
		{"closed group", nltest.NewPeer(), nl.ConnConfig{Protocol: toyProto, Groups: 3}, syscall.EPERM},
		{"closed group, admin", admin, nl.ConnConfig{Protocol: toyProto, Groups: 3}, nil},
		{"closed group, admin without privileges", admin, nl.ConnConfig{Protocol: toyProto, Groups: 3, Unprivileged: true}, syscall.EPERM},
		{"all namespaces", nltest.NewPeer(), nl.ConnConfig{Protocol: toyProto, ListenAllNSID: true}, syscall.EPERM},
		{"all namespaces, admin", admin, nl.ConnConfig{Protocol: toyProto, ListenAllNSID: true}, nil},
	} {
		if err := connect(srv, c.peer, c.cfg); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// TestHelloMisuse: a connection that does not begin with a hello the server
// understands is dropped, with the reason if it can be told.
func TestHelloMisuse(t *testing.T) {
	future := nl.NewControl(nl.OpHello, 7, toyProto, 0, 0, 0, 0)
	future.Version = 9
	unknown := nl.NewControl(nl.OpHello, 7, toyProto, 0, 0, 1<<9, 0)
	hello := nl.NewControl(nl.OpHello, 7, toyProto, 0, 0, 0, 0).Append(nil)
	for _, c := range []struct {
		name  string
		first []byte
		want  syscall.Errno // 0: no answer
	}{
		{"request first", request(toyEcho, netlink.Acknowledge, 1), 0},
		{"garbage", []byte{1, 2, 3}, 0},
		{"control type without magic", request(nl.ControlType, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8), 0},
		{"option first", nl.NewControl(nl.OpSetOption, 7, 11, 1).Append(nil), syscall.EINVAL},
		{"later version", future.Append(nil), syscall.EPROTONOSUPPORT},
		{"unknown option", unknown.Append(nil), syscall.ENOPROTOOPT},
		{"short hello", nl.NewControl(nl.OpHello, 7, toyProto).Append(nil), syscall.EINVAL},
		{"hello in two messages", append(request(toyEcho, 0, 1), hello...), 0},
	} {
		_, srv := newToy(t, nl.Config{})
		client, server := nltest.Pipe(1)
		if err := srv.Attach(server, nltest.NewPeer()); err != nil {
			t.Fatal(err)
		}
		if err := client.WritePacket(c.first); err != nil {
			t.Fatal(err)
		}
		b, _, err := client.ReadPacket()
		if c.want != 0 {
			m, perr := nl.ParseControl(b)
			if err != nil || perr != nil || !m.Answer || !errors.Is(m.Err(), c.want) || m.Sequence != 7 {
				t.Errorf("%s: answer %+v, %v, %v", c.name, m, err, perr)
			}
			b, _, err = client.ReadPacket()
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s: %x, %v, want the end", c.name, b, err)
		}
		client.Close()
	}
}

// TestHelloTimeout: a connection that says nothing does not stay.
func TestHelloTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, srv := newToy(t, nl.Config{})
		client, server := nltest.Pipe(1)
		if err := srv.Attach(server, nltest.NewPeer()); err != nil {
			t.Fatal(err)
		}
		quiet := dial(t, srv, nl.ConnConfig{})
		start := time.Now()
		if _, _, err := client.ReadPacket(); !errors.Is(err, io.EOF) || time.Since(start) != nl.DefaultHelloTimeout {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		time.Sleep(time.Hour)
		if e := ask(t, quiet, toyEcho+100); e != syscall.EOPNOTSUPP {
			t.Errorf("a greeted connection after an hour: %v", e)
		}
		srv.Close()
	})
}

// TestDialTimeout: a service that does not answer is given up on.
func TestDialTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := nltest.Pipe(1)
		defer server.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := nl.NewConn(ctx, client, nl.ConnConfig{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

// TestPortIDs: the first connection of a process gets its pid, others get
// numbers of their own; those asked for must be free in the namespace.
func TestPortIDs(t *testing.T) {
	_, srv := newToy(t, nl.Config{})
	a, b := dial(t, srv, nl.ConnConfig{}), dial(t, srv, nl.ConnConfig{})
	if a.PortID() != 1000 || b.PortID() <= 1<<31 || b.PortID() == a.PortID() {
		t.Errorf("ports %d %d", a.PortID(), b.PortID())
	}
	c := dial(t, srv, nl.ConnConfig{PortID: 77})
	if c.PortID() != 77 {
		t.Errorf("port %d", c.PortID())
	}
	if err := connect(srv, nltest.NewPeer(), nl.ConnConfig{Protocol: toyProto, PortID: 77}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("taken port: %v", err)
	}
	other := nltest.NewPeer()
	other.SetNetNS(nl.NetNS{Dev: 4, Ino: 5}, "")
	if err := connect(srv, other, nl.ConnConfig{Protocol: toyProto, PortID: 77}); err != nil {
		t.Errorf("same port in another namespace: %v", err)
	}
	c.Close()
	for srv.Clients() > 2 {
		time.Sleep(time.Millisecond)
	}
	if err := connect(srv, nltest.NewPeer(), nl.ConnConfig{Protocol: toyProto, PortID: 77}); err != nil {
		t.Errorf("port after its owner closed: %v", err)
	}
}

func TestPrivilege(t *testing.T) {
	p, srv := newToy(t, nl.Config{})
	peer := nltest.NewPeer()
	c := nltest.Dial(t, srv, peer, nl.ConnConfig{Protocol: toyProto})
	for _, s := range []struct {
		name         string
		set          func()
		change, host syscall.Errno
	}{
		{"none", func() {}, syscall.EPERM, syscall.EPERM},
		{"admin", func() { peer.SetCaps(nl.CapNetAdmin) }, 0, 0},
		{"other capability", func() { peer.SetCaps(nl.CapSysAdmin) }, syscall.EPERM, syscall.EPERM},
		{"container admin", func() { peer.SetContainer(true); peer.SetCaps(nl.CapNetAdmin) }, 0, syscall.EPERM},
		{"dropped", func() { peer.SetCaps() }, syscall.EPERM, syscall.EPERM},
	} {
		s.set()
		if e := ask(t, c, toyChange); e != s.change {
			t.Errorf("%s: change %v, want %v", s.name, e, s.change)
		}
		if e := ask(t, c, toyHost); e != s.host {
			t.Errorf("%s: host change %v, want %v", s.name, e, s.host)
		}
	}
	if p.changed.Load() != 2 {
		t.Errorf("%d changes", p.changed.Load())
	}
	peer.SetContainer(false)
	peer.SetCaps(nl.CapNetAdmin)
	low := nltest.Dial(t, srv, peer, nl.ConnConfig{Protocol: toyProto, Unprivileged: true})
	if e := ask(t, low, toyChange); e != syscall.EPERM {
		t.Errorf("connection that gave up its privileges: %v", e)
	}
}

// errnoText stands for the error type of a package that cannot import nl.
type errnoText struct {
	errno syscall.Errno
	text  string
}

func (e errnoText) Error() string        { return "setter: " + e.text }
func (e errnoText) Errno() syscall.Errno { return e.errno }
func (e errnoText) ExtAck() string       { return e.text }

// errnoFull also knows the attribute.
type errnoFull struct{ errnoText }

func (e errnoFull) ExtAck() (string, uint32, uint32) { return e.text, 16, 4 }

// TestErrorMapping: what errors become on the wire.
func TestErrorMapping(t *testing.T) {
	p, srv := newToy(t, nl.Config{})
	nc := dial(t, srv, nl.ConnConfig{ExtAck: true}).NetlinkConn()
	inner := errnoText{syscall.EADDRINUSE, "already there"}
	for _, c := range []struct {
		err    error
		errno  syscall.Errno
		text   string
		offset int
	}{
		{syscall.EBUSY, syscall.EBUSY, "", 0},
		{errors.Join(errToy, syscall.EBUSY), syscall.EBUSY, "", 0},
		{errToy, syscall.EINVAL, "broken toy", 0},
		{inner, syscall.EADDRINUSE, "already there", 0},
		{nl.Blame(inner, nl.Attr{Offset: 20}), syscall.EADDRINUSE, "already there", 20},
		{nl.Blame(syscall.EBUSY, nl.Attr{Offset: 20}), syscall.EBUSY, "", 20},
		{errnoFull{inner}, syscall.EADDRINUSE, "already there", 16},
		{nl.Blame(errnoFull{inner}, nl.Attr{Offset: 20}), syscall.EADDRINUSE, "already there", 16},
		{errnoText{0, "no number"}, syscall.EINVAL, "no number", 0},
		{&nl.Error{}, syscall.EINVAL, "", 0},
		{nl.Errorf(syscall.EDOM, "%d too many", 3), syscall.EDOM, "3 too many", 0},
		{nl.BadAttr(syscall.ENODEV, nl.Attr{Offset: 24}, "no device matches name"), syscall.ENODEV, "no device matches name", 24},
		{fs.ErrPermission, syscall.EPERM, "", 0},
		{fs.ErrNotExist, syscall.ENOENT, "", 0},
		{fs.ErrExist, syscall.EEXIST, "", 0},
		{context.DeadlineExceeded, syscall.ETIMEDOUT, "", 0},
		{context.Canceled, syscall.ECANCELED, "", 0},
		{errors.New(strings.Repeat("x", 5000)), syscall.EINVAL, strings.Repeat("x", 1024), 0},
	} {
		p.fail = c.err
		_, err := nc.Execute(netlink.Message{
			Header: netlink.Header{Type: toyFail, Flags: netlink.Request}, Data: make([]byte, 20),
		})
		var op *netlink.OpError
		if !errors.As(err, &op) || !errors.Is(op.Err, c.errno) || op.Message != c.text || op.Offset != c.offset {
			t.Errorf("%v: answered %v", c.err, err)
		}
	}
	if nl.Blame(nil, nl.Attr{Offset: 1}) != nil {
		t.Error("no error is blamed on an attribute")
	}
	e := nl.Missing(3, 40)
	if !errors.Is(e, syscall.EINVAL) || !strings.Contains(e.Error(), "missing attribute 3") || e.MissNest != 40 {
		t.Errorf("%v", e)
	}
	if wrapped := (&nl.Error{Code: syscall.EIO, Err: errToy}); !errors.Is(wrapped, errToy) || !errors.Is(wrapped, syscall.EIO) {
		t.Error("cause or errno is lost")
	}
}

// TestExtAckForm: order and presence of the extended-ack attributes.
func TestExtAckForm(t *testing.T) {
	p, srv := newToy(t, nl.Config{})
	c := dial(t, srv, nl.ConnConfig{ExtAck: true, CapAck: true})
	pol := nl.NulString(4)
	p.fail = &nl.Error{
		Code: syscall.EPERM, Msg: "m", Offset: 16, MissType: 3, MissNest: 20, Policy: &pol, Cookie: []byte{1, 2, 3},
	}
	write(t, c, request(toyFail, 0, 1))
	m := one(t, c)
	if m.Header.Flags != netlink.Capped|netlink.AcknowledgeTLVs {
		t.Errorf("flags %s", m.Header.Flags)
	}
	var order []uint16
	for a := range (nl.Attr{Data: m.Data[20:]}).Children() {
		order = append(order, a.Type)
	}
	if want := []uint16{1, 3, 2, 4, 5, 6}; !equal(order, want) {
		t.Errorf("attributes %v, want %v", order, want)
	}
	write(t, c, request(toyWarn, netlink.Acknowledge, 1))
	if m := one(t, c); ack(t, m) != 0 || !bytes.Contains(m.Data, []byte("mind the gap\x00")) {
		t.Errorf("warning %+v", m)
	}
	// Options can change at any time.
	if err := c.SetOption(netlink.ExtendedAcknowledge, false); err != nil {
		t.Fatal(err)
	}
	if err := c.SetOption(netlink.CapAcknowledge, false); err != nil {
		t.Fatal(err)
	}
	write(t, c, request(toyFail, 0, 1, 1, 2, 3, 4))
	if m := one(t, c); m.Header.Flags != 0 || m.Header.Length != 16+4+20 {
		t.Errorf("plain error %+v", m.Header)
	}
}

func equal[T comparable](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// TestVanishedRequester: what was sent before the end is carried out.
func TestVanishedRequester(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, srv := newToy(t, nl.Config{})
		peer := nltest.NewPeer()
		peer.SetCaps(nl.CapNetAdmin)
		c := nltest.Dial(t, srv, peer, nl.ConnConfig{Protocol: toyProto})
		for i := range uint32(100) {
			write(t, c, request(toyChange, netlink.Acknowledge, i))
		}
		c.Close()
		synctest.Wait()
		if p.changed.Load() != 100 || srv.Clients() != 0 {
			t.Errorf("%d changes, %d clients", p.changed.Load(), srv.Clients())
		}
		srv.Close()
	})
}

func TestLimits(t *testing.T) {
	_, srv := newToy(t, nl.Config{MaxClients: 3, MaxClientsPerUID: 2})
	root := nltest.NewPeer()
	root.SetID(1, 0)
	dial(t, srv, nl.ConnConfig{})
	b := dial(t, srv, nl.ConnConfig{})
	if err := connect(srv, nltest.NewPeer(), nl.ConnConfig{Protocol: toyProto}); err == nil {
		t.Error("third connection of a user")
	}
	nltest.Dial(t, srv, root, nl.ConnConfig{Protocol: toyProto})
	if err := connect(srv, root, nl.ConnConfig{Protocol: toyProto}); err == nil {
		t.Error("fourth connection")
	}
	b.Close()
	for srv.Clients() > 2 {
		time.Sleep(time.Millisecond)
	}
	dial(t, srv, nl.ConnConfig{})
	srv.Close()
	if err := connect(srv, root, nl.ConnConfig{Protocol: toyProto}); !errors.Is(err, nl.ErrServerClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestCloseWaits: Close lets a running handler finish.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, srv := newToy(t, nl.Config{})
		p.block = make(chan struct{})
		c := dial(t, srv, nl.ConnConfig{})
		write(t, c, request(toyBlock, 0, 1))
		synctest.Wait()
		closed := make(chan struct{})
		go func() { srv.Close(); close(closed) }()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("closed under a running handler")
		default:
		}
		close(p.block)
		<-closed
		if _, err := c.Receive(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("client of a closed server: %v", err)
		}
	})
}

func TestTrace(t *testing.T) {
	var out bytes.Buffer
	p, srv := newToy(t, nl.Config{Trace: &out})
	p.fail = nl.Errorf(syscall.EINVAL, "text of the error")
	c := dial(t, srv, nl.ConnConfig{ExtAck: true, PortID: 5})
	write(t, c, request(toyFail, netlink.Acknowledge|netlink.Dump, 1, 1, 2, 3, 4))
	one(t, c)
	srv.Close()
	for _, want := range []string{
		"netlink < new pid 1000 port 0: len 44 type CONTROL flags REQUEST seq 1 pid 0 hello [3 5 0 2048 0]",
		"netlink > 3 pid 1000 port 5: len 32 type CONTROL flags 0 seq 1 pid 0 hello answer ok value 5",
		"netlink < 3 pid 1000 port 5: len 20 type 0x11 flags REQUEST|ACK|ROOT|MATCH seq 1 pid 0 01020304",
		"type ERROR flags ACK_TLVS seq 1 pid 5 errno -22 (invalid argument)\n    [1] \"text of the error\"\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("trace lacks %q:\n%s", want, out.String())
		}
	}
}
