package rtnlface

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mdlayher/netlink"

	"ipoib/datapath"
	"ipoib/datapath/hostnet"
	"ipoib/datapath/hostnet/hostnettest"
	"ipoib/nl"
	"ipoib/nl/nltest"
	"ipoib/nl/rtlink"
	"ipoib/nl/rtnl"
	"ipoib/rdma"
	"ipoib/rdma/soft"
	"ipoib/rdma/soft/sm/smtest"
)

// world is a host with one adapter on a managed fabric, and the face of its
// driver, in memory and in virtual time.
type world struct {
	t    *testing.T
	net  *hostnettest.Host
	ns   *hostnettest.Namespace
	drv  *datapath.Driver
	ib0  *datapath.Interface
	srv  *nl.Server
	face *Face
	peer *nltest.Peer
	conn *nl.Conn
	seq  uint32
}

func inWorld(t *testing.T, fn func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() {
			w.face.Close()
			w.drv.Close(false)
			synctest.Wait()
		}()
		fn(w)
	})
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, net: hostnettest.New(t)}
	w.ns = w.net.AddNamespace(t, "h1")
	fabric := smtest.New(t, soft.HCAConfig{})
	w.drv = datapath.New(datapath.System{
		Host: w.net, OpenTUN: w.net.OpenTUN, Seed: 3,
		RequestPKey: func(p rdma.Port, k rdma.PKey) { _ = fabric.SM.Allow(p.GUID(), k) },
		ReleasePKey: func(p rdma.Port, k rdma.PKey) { _ = fabric.SM.Disallow(p.GUID(), k) },
	}, datapath.Params{})
	w.srv = nltest.NewServer(t, nl.Config{})
	var err error
	w.face, err = Register(rtnl.NewTable(w.srv), Config{Driver: w.drv, Host: w.net})
	w.must(err)
	port, err := fabric.HCA.Port(1)
	w.must(err)
	ns, err := w.net.ByName("h1")
	w.must(err)
	w.ib0, err = w.drv.AddPort(datapath.PortConfig{Port: port, NS: ns, Name: "ib0"})
	w.must(err)
	w.peer = w.newPeer()
	w.conn = w.dial(nl.ConnConfig{})
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// newPeer is an administrator in the namespace of ib0.
func (w *world) newPeer() *nltest.Peer {
	p := nltest.NewPeer()
	id := w.ns.ID()
	p.SetNetNS(nl.NetNS{Dev: id.Dev, Ino: id.Ino}, "")
	p.SetCaps(nl.CapNetAdmin)
	return p
}

func (w *world) dial(cfg nl.ConnConfig) *nl.Conn {
	w.t.Helper()
	cfg.ExtAck = true
	return nltest.Dial(w.t, w.srv, w.peer, cfg)
}

// settle lets what is under way end.
func (w *world) settle() {
	time.Sleep(2 * time.Second)
	synctest.Wait()
}

// answer is what a request was answered with.
type answer struct {
	links []*rtlink.Link
	flags netlink.HeaderFlags // of the last message that is a link or DONE
	errno syscall.Errno
	text  string
	off   uint32
}

func (a answer) String() string { return fmt.Sprintf("%v %q at %d", a.errno, a.text, a.off) }

// ask sends a request and reads up to its acknowledgement.
func (w *world) ask(t netlink.HeaderType, flags netlink.HeaderFlags, h header, fill func(*nl.Encoder)) answer {
	w.t.Helper()
	return w.askOn(w.conn, t, flags, h, fill)
}

func (w *world) askOn(c *nl.Conn, t netlink.HeaderType, flags netlink.HeaderFlags, h header, fill func(*nl.Encoder)) (out answer) {
	w.t.Helper()
	w.seq++
	var e nl.Encoder
	_ = e.Message(netlink.Header{Type: t, Flags: netlink.Request | netlink.Acknowledge | flags, Sequence: w.seq}, func(e *nl.Encoder) error {
		rtlink.AppendHeader(e, 0, h.typ, h.index, h.flags, h.change)
		if fill != nil {
			fill(e)
		}
		return nil
	})
	w.must(c.WriteDatagram(e.Bytes()))
	for {
		d, err := c.ReadDatagram()
		w.must(err)
		for b := d.Bytes; len(b) >= nl.HeaderLen; {
			mh := nl.ParseHeader(b)
			body := b[nl.HeaderLen:mh.Length]
			b = b[min(nl.Align(int(mh.Length)), len(b)):]
			if mh.Sequence != w.seq {
				continue // a notification
			}
			switch mh.Type {
			case netlink.Error, netlink.Done:
				if mh.Type == netlink.Done {
					out.flags = mh.Flags
				}
				out.errno = syscall.Errno(-int32(binary.NativeEndian.Uint32(body)))
				n := 4
				if mh.Type == netlink.Error {
					n += nl.Align(int(nl.ParseHeader(body[4:]).Length))
				}
				if out.errno != 0 && n < len(body) {
					for a := range rtlink.Attrs(body[n:]) {
						switch a.Type {
						case nl.ExtAckMsg:
							out.text = a.String()
						case nl.ExtAckOffs:
							out.off = a.Uint32()
						}
					}
				}
				return out
			default:
				l, err := rtlink.Decode(body)
				w.must(err)
				out.links = append(out.links, l)
				out.flags = mh.Flags
			}
		}
	}
}

// get asks for one link by name.
func (w *world) get(name string) *rtlink.Link {
	w.t.Helper()
	a := w.ask(rtlink.GetLink, 0, header{}, func(e *nl.Encoder) { e.String(rtlink.AttrIfname, name) })
	if len(a.links) != 1 {
		w.t.Fatalf("get %s: %d links, %v", name, len(a.links), a)
	}
	return a.links[0]
}

// dump lists the links.
func (w *world) dump(fill func(*nl.Encoder)) answer {
	w.t.Helper()
	return w.ask(rtlink.GetLink, netlink.Dump, header{}, fill)
}

// kind appends IFLA_LINKINFO of kind ipoib.
func kind(e *nl.Encoder, d rtlink.IPoIB) {
	e.NestNoFlag(rtlink.AttrLinkinfo, func() {
		e.Put(rtlink.InfoKind, []byte(rtlink.KindIPoIB))
		if d != (rtlink.IPoIB{}) {
			e.NestNoFlag(rtlink.InfoData, func() { d.Append(e) })
		}
	})
}

const create = netlink.Create | netlink.Excl

// add makes a child of ib0.
func (w *world) add(name string, pkey uint16, more func(*nl.Encoder)) answer {
	w.t.Helper()
	return w.ask(rtlink.NewLink, create, header{}, func(e *nl.Encoder) {
		if more != nil {
			more(e)
		}
		e.U32(rtlink.AttrLink, uint32(w.ib0.Info().Ifindex))
		if name != "" {
			e.String(rtlink.AttrIfname, name)
		}
		kind(e, rtlink.IPoIB{PKey: &pkey})
	})
}

func (w *world) id() hostnet.ID { return w.ns.ID() }

// events collects what a member of RTNLGRP_LINK hears.
type events struct {
	w    *world
	conn *nl.Conn
}

// listen joins the group. What happened before is told before: the loops of
// the interfaces tell of a change on their own time.
func (w *world) listen() *events {
	w.t.Helper()
	synctest.Wait()
	return &events{w, w.dial(nl.ConnConfig{Groups: 1 << (rtlink.Group - 1)})}
}

// event is one notification.
type event struct {
	netlink.Header
	*rtlink.Link
}

func (e event) String() string {
	if e.Link == nil {
		return fmt.Sprint(e.Header)
	}
	s := fmt.Sprintf("%d %s change %#x", e.Header.Type, e.Name, e.Change)
	if e.Event != nil {
		s += fmt.Sprintf(" event %d", *e.Event)
	}
	return s
}

// read returns what came since the last call.
func (ev *events) read() (out []event) {
	ev.w.t.Helper()
	synctest.Wait()
	ev.w.must(ev.conn.SetReadDeadline(time.Now().Add(time.Millisecond)))
	defer func() { ev.w.must(ev.conn.SetReadDeadline(time.Time{})) }()
	for {
		d, err := ev.conn.ReadDatagram()
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
				ev.w.t.Fatal(err)
			}
			return out
		}
		for b := d.Bytes; len(b) >= nl.HeaderLen; {
			h := nl.ParseHeader(b)
			l, err := rtlink.Decode(b[nl.HeaderLen:h.Length])
			ev.w.must(err)
			out = append(out, event{h, l})
			b = b[min(nl.Align(int(h.Length)), len(b)):]
		}
	}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
