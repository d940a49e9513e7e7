package nlsock

import (
	"hash/maphash"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"ipoib/compat/redirect/wire"
	"ipoib/nl"
	"ipoib/nl/rtlink"
)

// patchState rewrites what a socket receives, and remembers what it told of
// each link: a change that the kernel tells of, the service tells of as well.
type patchState struct {
	wire.Patcher
	s *Socket
	// link is what the service says of a link now.
	link func(index int32) []byte
	// told is a digest of what was told last of a link.
	told map[int32]uint64
	// ahead is when an event of the kernel was answered with a state that the
	// service had not told of: its own events before that one are old news.
	ahead map[int32]time.Time
}

func (p *patchState) init(s *Socket) {
	p.s = s
	p.link = s.world.Link
	p.told = make(map[int32]uint64)
	p.ahead = make(map[int32]time.Time)
	p.Patcher = wire.Patcher{Protocol: s.proto, View: view{s}, Dumps: make(map[uint32]*wire.Dump)}
}

// rewrite makes a datagram of the kernel what the program is to see; false
// when nothing is left of it.
func (p *patchState) rewrite(d *datagram) bool {
	if d.err != 0 || fromElsewhere(d.control) {
		return true
	}
	if p.Ethtool == 0 && p.Protocol == nl.ProtoGeneric {
		p.Ethtool = p.s.table.client.Kernel().ID
	}
	d.data, d.rewritten = p.Datagram(d.data)
	return len(d.data) > 0 || !d.rewritten
}

// fromElsewhere reports whether the control messages of a datagram name the
// network namespace that it is from: another one than the socket's
// (NETLINK_LISTEN_ALL_NSID).
func fromElsewhere(control []byte) bool {
	if len(control) == 0 {
		return false
	}
	ms, err := unix.ParseSocketControlMessage(control)
	return err == nil && slices.ContainsFunc(ms, func(m unix.SocketControlMessage) bool {
		return m.Header.Level == unix.SOL_NETLINK && m.Header.Type == unix.NETLINK_LISTEN_ALL_NSID
	})
}

// wanted reports whether a datagram of the service is to be delivered: events
// that say what the program was told already are not.
func (p *patchState) wanted(d *datagram) bool {
	if d.group == 0 || p.Protocol != nl.ProtoRoute {
		return true
	}
	var news []byte
	for _, m := range wire.Split(d.data) {
		index := indexOf(m.Payload())
		if m.Type != rtlink.NewLink {
			if p.tell(index, nil) {
				news = append(news, m.WithBody(m.Payload())...)
			}
			continue
		}
		if p.told[index] == deleted && p.link(index) == nil {
			continue // the kernel told of its end already
		}
		if link := p.latest(index, m.Payload()); p.tell(index, link) {
			p.s.world.Remember(index, link)
			news = append(news, m.WithBody(link)...)
		}
	}
	d.data = news
	return len(news) > 0
}

// aheadTime bounds how long the service's events may be behind its state.
const aheadTime = 300 * time.Millisecond

// latest returns what to tell of a link when the service has an event of it:
// the event, or the state as of now when the program may have been told of a
// later one than that of the event. What it is told last is true in any case.
func (p *patchState) latest(index int32, event []byte) []byte {
	at, ok := p.ahead[index]
	if !ok || time.Since(at) > aheadTime || p.told[index] == digest(event) {
		delete(p.ahead, index)
		return event
	}
	if l, err := rtlink.Decode(event); err != nil || l.Event != nil {
		return event
	}
	now := slices.Clone(p.link(index))
	if len(now) < rtlink.HeaderLen {
		return event // its end comes next
	}
	copy(now[12:16], event[12:16]) // ifi_change
	return now
}

// tell notes what the program is told of a link, and reports whether that is
// news.
func (p *patchState) tell(index int32, link []byte) bool {
	sum := deleted
	if link != nil {
		sum = digest(link)
	}
	if p.told[index] == sum {
		return false
	}
	p.told[index] = sum
	return true
}

// deleted is the digest of a link that is gone.
const deleted uint64 = 1

var seed = maphash.MakeSeed()

// digest is equal for messages that differ in counters alone, in what is about
// the event, or in what only answers have: virtual functions.
func digest(body []byte) uint64 {
	l, err := rtlink.Decode(body)
	if err != nil {
		return 0
	}
	l.Change = 0
	l.Stats32, l.Stats64 = nil, nil
	l.CarrierChanges, l.CarrierUp, l.CarrierDown = nil, nil, nil
	l.NumVF = nil
	l.Other = slices.DeleteFunc(l.Other, func(r rtlink.Raw) bool { return r.Type == rtlink.AttrVFInfoList })
	var e nl.Encoder
	l.Append(&e)
	return maphash.Bytes(seed, e.Bytes())
}

func indexOf(body []byte) int32 {
	if len(body) < rtlink.HeaderLen {
		return 0
	}
	return int32(native.Uint32(body[4:]))
}

// view is the service as a socket's patcher asks it.
type view struct{ s *Socket }

// Link implements wire.View.
func (v view) Link(index int32) []byte { return v.s.world.Link(index) }

// Event implements wire.View.
func (v view) Event(index int32) []byte {
	w := v.s.world
	body := w.Link(index)
	if body == nil && !w.Other(index) && w.Running() {
		// It may be a link that the service is about to make of a TUN that it
		// has just created.
		for end := time.Now().Add(newLinkWait); body == nil && time.Now().Before(end); {
			time.Sleep(newLinkWait / 16)
			body = w.Link(index)
		}
		if body == nil {
			w.Other(index)
		}
	}
	return body
}

// Told implements wire.View.
func (v view) Told(index int32, link []byte) bool {
	p := &v.s.patch
	news := p.tell(index, link)
	if news && link != nil {
		p.ahead[index] = time.Now()
		v.s.world.Remember(index, link)
	}
	return news
}

// newLinkWait bounds the time between the appearance of a TUN and that of the
// interface on it.
const newLinkWait = 48 * time.Millisecond

// Gone implements wire.View.
func (v view) Gone(index int32) []byte { return v.s.world.Gone(index) }

// event takes over a datagram of the service's events, if the program has
// joined the group.
func (s *Socket) event(b []byte) {
	fd, err := s.reach()
	if err != nil {
		return
	}
	defer closeFD(fd)
	group := s.world.group(s.proto)
	if !member(fd, group) {
		return
	}
	b = append([]byte(nil), b...)
	if s.proto == nl.ProtoGeneric {
		s.toKernelIDs(b)
		var out []byte
		for _, m := range wire.Split(b) {
			// A monitor reads the names of the kernel before it listens.
			out = append(out, m.WithBody(s.world.ToKernel().Reply(m.Payload()))...)
		}
		b = out
	}
	d := datagram{data: b, own: true, group: group, rewritten: true}
	if group <= 32 {
		d.groups = 1 << (group - 1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.stash) > maxAhead {
		// The program does not read: the kernel's queue is to overflow.
		s.add(fd, 0, d)
		return
	}
	// What the kernel has told of the same change comes first, so that it is
	// known.
	s.drain(fd, 0)
	if s.patch.wanted(&d) {
		s.stash = append(s.stash, d)
	}
	s.show(fd, 0)
}

// maxAhead bounds what is taken from the kernel's queue before the program
// asks, in datagrams.
const maxAhead = 256

// follow begins to follow the service's events if the socket has joined their
// group.
func (s *Socket) follow() {
	fd, err := s.reach()
	if err != nil {
		return
	}
	defer closeFD(fd)
	s.subscribe(fd)
}

// toKernelIDs puts the kernel's number of the ethtool family in place of the
// service's.
func (s *Socket) toKernelIDs(b []byte) {
	f, err := s.world.Ethtool()
	if err != nil {
		return
	}
	for _, m := range wire.Split(b) {
		if m.Type == f.ID {
			wire.SetType(m.Raw, s.table.client.Kernel().ID)
		}
	}
}
