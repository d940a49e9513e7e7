package rtnlface

import (
	"log/slog"
	"sync"

	"ipoib/datapath"
	"ipoib/datapath/hostnet"
	"ipoib/nl"
	"ipoib/nl/rtlink"
	"ipoib/nl/rtnl"
)

// Config says what a Face is made of.
type Config struct {
	// Driver has the interfaces.
	Driver *datapath.Driver
	// Host opens the namespaces that requests name.
	Host hostnet.Host
	// Log gets what cannot be told to a client; nil is silent.
	Log *slog.Logger
}

// Face is the registered face.
type Face struct {
	drv   *datapath.Driver
	host  hostnet.Host
	log   *slog.Logger
	table *rtnl.Table

	// rtnl serializes changes with their notifications, as the kernel's lock
	// of that name does. Requests that only read do not take it.
	rtnl sync.Mutex
	// last is what the kernel said last of a link, for the message that
	// tells of its end.
	last map[*datapath.Interface][]byte // guarded by rtnl

	mu         sync.Mutex
	queue      []datapath.Change // guarded by mu
	cancel     func()
	wake       chan struct{} // holds a token while the queue is not empty
	stop, done chan struct{} // closed by Close, and when run has ended
}

// Register makes a face and registers it with t. Close it when done.
func Register(t *rtnl.Table, cfg Config) (*Face, error) {
	f := &Face{
		drv: cfg.Driver, host: cfg.Host, log: cfg.Log, table: t,
		last: make(map[*datapath.Interface][]byte),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	change := func(do func(*rtnl.Request) (*datapath.Interface, error)) func(*rtnl.Request) error {
		return func(r *rtnl.Request) error { return f.locked(r, do) }
	}
	err := t.Register(
		rtnl.Handler{Type: rtlink.GetLink, HeaderSize: rtlink.HeaderLen, Parse: parseGet, Do: f.getLink, Dump: f.dumpLinks},
		rtnl.Handler{Type: rtlink.NewLink, HeaderSize: rtlink.HeaderLen, Policy: rtlink.Policy, Do: change(f.newLink)},
		rtnl.Handler{Type: rtlink.SetLink, HeaderSize: rtlink.HeaderLen, Policy: rtlink.Policy, Do: change(f.setLink)},
		rtnl.Handler{Type: rtlink.DelLink, HeaderSize: rtlink.HeaderLen, Policy: rtlink.Policy, Do: change(f.delLink)},
		rtnl.Handler{Type: rtlink.NewLinkProp, HeaderSize: rtlink.HeaderLen, Policy: rtlink.Policy, Do: change(f.newLinkProp)},
		rtnl.Handler{Type: rtlink.DelLinkProp, HeaderSize: rtlink.HeaderLen, Policy: rtlink.Policy, Do: change(f.delLinkProp)},
		rtnl.Handler{Type: rtlink.GetNSID, HeaderSize: 1, Policy: rtlink.NSIDPolicy, Do: f.getNSID},
	)
	if err != nil {
		return nil, err
	}
	f.cancel = f.drv.Subscribe(f.onChange)
	go f.run()
	return f, nil
}

// Close ends the notifications. Requests are answered for as long as the
// server lives.
func (f *Face) Close() {
	f.cancel()
	close(f.stop) // not wake: a change may be on its way still
	<-f.done
}

// hostID and netNS are the two names of a network namespace.
func hostID(n nl.NetNS) hostnet.ID { return hostnet.ID{Dev: n.Dev, Ino: n.Ino} }

func netNS(id hostnet.ID) nl.NetNS { return nl.NetNS{Dev: id.Dev, Ino: id.Ino} }

// header is the struct ifinfomsg of a request.
type header struct {
	typ           uint16
	pad           uint8
	index         int32
	flags, change uint32
}

func headerOf(b []byte) (h header) {
	if l, err := rtlink.Decode(b); err == nil {
		h = header{typ: l.Type, pad: b[1], index: l.Index, flags: l.Flags, change: l.Change}
	}
	return h
}

// find returns the interface that a request names by index or, without one,
// by name. named is false when it names none.
func (f *Face) find(r *rtnl.Request, h header) (i *datapath.Interface, named bool) {
	ns := hostID(r.NetNS())
	if h.index > 0 {
		return f.drv.ByIndex(ns, int(h.index)), true
	}
	for _, t := range []uint16{rtlink.AttrIfname, rtlink.AttrAltIfname} {
		if a, ok := r.Attrs.Get(t); ok {
			return f.drv.ByAltName(ns, a.String()), true
		}
	}
	return nil, false
}
