package nl

import "github.com/mdlayher/netlink"

// Notification is what members of a multicast group get.
type Notification struct {
	// Proto and Group are the netlink protocol and the group number.
	Proto int
	Group uint32
	// NetNS is where it happened. Clients elsewhere get it only with
	// OptListenAllNSID. The zero value reaches every namespace.
	NetNS NetNS
	// Data is a datagram of whole messages. It is shared by the receivers and
	// must not change any more.
	Data []byte
}

// noNSID is the namespace id of an event from the client's own namespace
// (NETNSA_NSID_NOT_ASSIGNED).
const noNSID int32 = -1

// Notify queues n for every member of its group and returns how many got it.
// It never waits: a member whose queue is full loses the message and gets
// ENOBUFS (netlink_broadcast).
func (s *Server) Notify(n Notification) int { return s.notify(n, nil) }

func (s *Server) notify(n Notification, except *client) int {
	got := 0
	s.mu.RLock()
	defer s.mu.RUnlock()
	for c := range s.members[groupKey{n.Proto, n.Group}] {
		if c == except {
			continue
		}
		nsid, ok := s.reaches(n.NetNS, c)
		if !ok {
			continue
		}
		b := n.Data
		if c.option(OptPacketInfo) || c.option(OptListenAllNSID) {
			info := NewControl(OpPacketInfo, 0, n.Group, uint32(nsid))
			b = append(info.Append(nil), n.Data...)
		}
		if c.send(b) {
			got++
		}
	}
	return got
}

// reaches reports whether an event of ns is for c, and the id by which c's
// namespace knows ns.
func (s *Server) reaches(ns NetNS, c *client) (nsid int32, ok bool) {
	if ns.IsZero() || ns == c.netns {
		return noNSID, true
	}
	if s.cfg.NSID == nil || !c.option(OptListenAllNSID) {
		return noNSID, false
	}
	return s.cfg.NSID(c.peer, ns)
}

// HasListeners reports whether Notify would have a receiver, so that a
// message that nobody reads need not be built (netlink_has_listeners).
func (s *Server) HasListeners(proto int, ns NetNS, group uint32) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for c := range s.members[groupKey{proto, group}] {
		if _, ok := s.reaches(ns, c); ok {
			return true
		}
	}
	return false
}

// Echo reports whether the request asks for the notification it causes
// (NLM_F_ECHO, nlmsg_report).
func (r *Request) Echo() bool { return r.Header.Flags&netlink.Echo != 0 }

// Notify is Server.Notify for an event that the request caused. With
// NLM_F_ECHO the requester gets it once, as a reply, member or not
// (nlmsg_notify); the messages then carry ReplyHeader.
func (r *Request) Notify(n Notification) {
	if !r.Echo() {
		r.c.srv.notify(n, nil)
		return
	}
	r.c.srv.notify(n, r.c)
	r.c.send(n.Data)
}

func (s *Server) join(c *client, group uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := groupKey{c.proto, group}
	if s.members[key] == nil {
		s.members[key] = make(map[*client]struct{})
	}
	s.members[key][c] = struct{}{}
	c.groups[group] = struct{}{}
}

func (s *Server) leave(c *client, group uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaveLocked(c, group)
}

func (s *Server) leaveLocked(c *client, group uint32) {
	key := groupKey{c.proto, group}
	delete(s.members[key], c)
	if len(s.members[key]) == 0 {
		delete(s.members, key)
	}
	delete(c.groups, group)
}

// DropGroup takes every member out of a group, for a group that ceases to
// exist (__netlink_clear_multicast_users).
func (s *Server) DropGroup(proto int, group uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.members[groupKey{proto, group}] {
		delete(c.groups, group)
	}
	delete(s.members, groupKey{proto, group})
}
