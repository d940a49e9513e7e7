package rtnl

import (
	"fmt"
	"sync"
	"syscall"

	"ipoib/nl"

	"github.com/mdlayher/netlink"
)

// Kind is what a message type does: the low two bits of its number (enum
// rtnl_kinds).
type Kind uint8

// The kinds.
const (
	KindNew Kind = iota
	KindDel
	KindGet
	KindSet
)

// KindOf returns the kind of a message type.
func KindOf(t netlink.HeaderType) Kind { return Kind(t & 3) }

const (
	// maxType is RTM_MAX; a type above it is unknown to everyone, also to who
	// would not be allowed to send it.
	maxType = 123
	// maxGroup is RTNLGRP_MAX of Linux 6.1.
	maxGroup = 36
	// flagBulk is NLM_F_BULK, of RTM_DEL* requests.
	flagBulk netlink.HeaderFlags = 0x200
)

// Handler is a row of the table: what happens to one message type.
type Handler struct {
	// Type is the message type, RTM_GETLINK for example.
	Type netlink.HeaderType
	// Family is the address family it is for; AF_UNSPEC, 0, is for all that
	// have no handler of their own.
	Family uint8
	// HeaderSize is the size of the header behind the nlmsghdr, such as that
	// of struct ifinfomsg, in bytes.
	HeaderSize int
	// Policy checks the attributes: like nlmsg_parse_deprecated, and like its
	// strict sibling for GET requests of a client that set
	// NETLINK_GET_STRICT_CHK. A dump request without that option is not
	// refused for its attributes. nil: Attrs is empty.
	Policy *nl.Policy
	// Parse replaces what Policy does, for messages with rules of their own.
	Parse func(r *Request, dump bool) (nl.Attrs, error)
	// BulkDelete accepts NLM_F_BULK on RTM_DEL*.
	BulkDelete bool
	// Do handles a request; nil: EOPNOTSUPP.
	Do func(*Request) error
	// Dump makes the answer to a dump request; nil: EOPNOTSUPP. Its error,
	// as one of parsing, ends the dump with DONE and that errno.
	Dump func(*Request) (*nl.Dump, error)
}

// Request is a request of rtnetlink.
type Request struct {
	*nl.Request
	// Family is the first byte behind the nlmsghdr (struct rtgenmsg).
	Family uint8
	// FamilyHeader is what Handler.HeaderSize covers. It is shorter in a
	// non-strict dump request that has not more; Do has it whole.
	FamilyHeader []byte
	// Attrs are the attributes that the handler's policy let pass.
	Attrs nl.Attrs

	table *Table
}

type key struct {
	family uint8
	t      netlink.HeaderType
}

// Table is the protocol NETLINK_ROUTE of its server.
type Table struct {
	srv *nl.Server
	// mu guards handlers. It is not held while one runs.
	mu       sync.RWMutex
	handlers map[key]*Handler
}

var _ nl.Protocol = (*Table)(nil)

// NewTable makes an empty table and registers it with srv.
func NewTable(srv *nl.Server) *Table {
	t := &Table{srv: srv, handlers: make(map[key]*Handler)}
	srv.Register(nl.ProtoRoute, t)
	return t
}

// Register adds handlers. EEXIST: there is one for that type and family;
// EINVAL: a type outside of rtnetlink's numbers. Nothing is added on an error.
func (t *Table) Register(hs ...Handler) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range hs {
		h := &hs[i]
		if h.Type < nl.MinType || h.Type > maxType {
			return fmt.Errorf("rtnl: message type %d: %w", h.Type, syscall.EINVAL)
		}
		if t.handlers[key{h.Family, h.Type}] != nil {
			return fmt.Errorf("rtnl: message type %d: %w", h.Type, syscall.EEXIST)
		}
	}
	for i := range hs {
		h := hs[i]
		t.handlers[key{h.Family, h.Type}] = &h
	}
	return nil
}

// find returns the handler for a type and family that ok accepts, or the one
// for AF_UNSPEC (rtnl_get_link).
func (t *Table) find(family uint8, mt netlink.HeaderType, ok func(*Handler) bool) *Handler {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, f := range []uint8{family, 0} {
		if h := t.handlers[key{f, mt}]; h != nil && ok(h) {
			return h
		}
	}
	return nil
}

// Groups implements nl.Protocol.
func (t *Table) Groups() uint32 { return maxGroup }

// Bind implements nl.Protocol: rtnetlink's groups are open, but for two of
// multicast routing (rtnetlink_bind).
func (t *Table) Bind(group uint32, capable func(nl.Cap) bool) error {
	const ipv4MRouteR, ipv6MRouteR = 30, 31
	if (group == ipv4MRouteR || group == ipv6MRouteR) && !capable(nl.CapNetAdmin) {
		return syscall.EPERM
	}
	return nil
}

// Handle implements nl.Protocol.
func (t *Table) Handle(req *nl.Request) (nl.DumpStart, error) {
	mt, p := req.Header.Type, req.Payload()
	if mt > maxType {
		return nil, syscall.EOPNOTSUPP
	}
	if len(p) < 1 {
		// No family, no request: acknowledged, not looked at.
		return nil, nil
	}
	r := &Request{Request: req, Family: p[0], table: t}
	kind := KindOf(mt)
	if kind != KindGet && !req.NetCapable(nl.CapNetAdmin) {
		return nil, syscall.EPERM
	}
	// Either bit of NLM_F_DUMP makes a dump here.
	if kind == KindGet && req.Header.Flags&netlink.Dump != 0 {
		h := t.find(r.Family, mt, func(h *Handler) bool { return h.Dump != nil })
		if h == nil {
			return nil, syscall.EOPNOTSUPP
		}
		return func() (*nl.Dump, error) { return r.dump(h), nil }, nil
	}
	h := t.find(r.Family, mt, func(h *Handler) bool { return h.Do != nil })
	if h == nil {
		return nil, syscall.EOPNOTSUPP
	}
	if kind == KindDel && req.Header.Flags&flagBulk != 0 && !h.BulkDelete {
		return nil, nl.Errorf(syscall.EOPNOTSUPP, "Bulk delete is not supported")
	}
	if err := r.parse(h, false); err != nil {
		return nil, err
	}
	return nil, h.Do(r)
}

func (r *Request) parse(h *Handler, dump bool) (err error) {
	p := r.Payload()
	r.FamilyHeader = p[:min(h.HeaderSize, len(p))]
	if h.Parse != nil {
		r.Attrs, err = h.Parse(r, dump)
		return err
	}
	strict := KindOf(h.Type) == KindGet && r.Strict()
	switch {
	case h.Policy == nil:
		if len(p) < h.HeaderSize && (strict || !dump) {
			return syscall.EINVAL
		}
	case strict:
		r.Attrs, err = r.Parse(h.HeaderSize, h.Policy, nl.DeprecatedStrict)
	default:
		r.Attrs, err = r.Parse(h.HeaderSize, h.Policy, nl.Liberal)
		if dump {
			err = nil
		}
	}
	return err
}

// dump starts a dump whose handler runs in its first step: rtnetlink has no
// start callback, so that all its errors end up in DONE.
func (r *Request) dump(h *Handler) *nl.Dump {
	d := &nl.Dump{Type: h.Type}
	first := true
	var inner *nl.Dump
	var err error
	d.Next = func(e *nl.Encoder) error {
		if first {
			first = false
			if err = r.parse(h, true); err == nil {
				inner, err = h.Dump(r)
			}
			if err == nil {
				d.Type, d.Flags, d.Generation = inner.Type, inner.Flags, inner.Generation
				// The header of this message was made from what d said before.
				return nl.ErrSkip
			}
		}
		if err != nil {
			return err
		}
		return inner.Next(e)
	}
	d.Done = func() {
		if inner != nil && inner.Done != nil {
			inner.Done()
		}
	}
	return d
}

// notification builds the message of an event.
func notification(h netlink.Header, ns nl.NetNS, group uint32, fill func(*nl.Encoder) error) (nl.Notification, error) {
	var e nl.Encoder
	err := e.Message(h, fill)
	return nl.Notification{Proto: nl.ProtoRoute, NetNS: ns, Group: group, Data: e.Bytes()}, err
}

// Notify sends a message of type mt to the members of a group (RTNLGRP_*), in
// one network namespace, with port id and sequence number 0 (rtnl_notify).
// fill writes what follows the nlmsghdr; it is called only if there is a
// member, and its error is returned.
func (t *Table) Notify(ns nl.NetNS, group uint32, mt netlink.HeaderType, fill func(*nl.Encoder) error) error {
	if !t.srv.HasListeners(nl.ProtoRoute, ns, group) {
		return nil
	}
	n, err := notification(netlink.Header{Type: mt}, ns, group, fill)
	if err == nil {
		t.srv.Notify(n)
	}
	return err
}

// NotifyAs is Table.Notify for an event that this request caused, in its
// network namespace: with NLM_F_ECHO it carries the request's sequence number
// and port id, and the requester gets it too.
func (r *Request) NotifyAs(group uint32, mt netlink.HeaderType, fill func(*nl.Encoder) error) error {
	if !r.Echo() {
		return r.table.Notify(r.NetNS(), group, mt, fill)
	}
	n, err := notification(r.ReplyHeader(mt, 0), r.NetNS(), group, fill)
	if err == nil {
		r.Notify(n)
	}
	return err
}
