package genl

import (
	"fmt"
	"syscall"

	"ipoib/nl"

	"github.com/mdlayher/netlink"
)

// OpFlags are the flags of an operation as the controller reports them
// (uapi/linux/genetlink.h: GENL_ADMIN_PERM ...).
type OpFlags uint32

// AdminPerm and UnsAdminPerm are set by the family; the others are derived
// from what the operation has.
const (
	// AdminPerm needs CAP_NET_ADMIN in the service's user namespace.
	AdminPerm OpFlags = 1 << iota
	// CapDo, CapDump and CapHasPol: there is a Do, a Dump, a policy.
	CapDo
	CapDump
	CapHasPol
	// UnsAdminPerm needs CAP_NET_ADMIN over the client's network namespace.
	UnsAdminPerm
)

// Validate relaxes the validation of an operation's requests (enum
// genl_validate_flags).
type Validate uint8

// The flags.
const (
	// DontValidateStrict reads the attributes of Do requests liberally.
	DontValidateStrict Validate = 1 << iota
	// DontValidateDump accepts dump requests without the family's header.
	DontValidateDump
	// DontValidateDumpStrict reads those of dump requests liberally.
	DontValidateDumpStrict
)

// Op is one operation: a row of a family's table.
type Op struct {
	Cmd uint8
	// Flags may hold AdminPerm or UnsAdminPerm.
	Flags OpFlags
	// Policy checks the attributes; nil does not look at them, and Attrs is
	// empty then.
	Policy *nl.Policy
	// DumpPolicy replaces Policy for dump requests when it is not nil.
	DumpPolicy *nl.Policy
	Validate   Validate
	// Do handles a request. nil: EOPNOTSUPP.
	Do func(*Request) error
	// Dump makes the answer to a dump request. Its error is sent instead of
	// a dump; one of Dump.Next ends the dump. nil: EOPNOTSUPP.
	Dump func(*Request) (*Dump, error)
}

// doPolicy and dumpPolicy return the policy of each kind, nil without a
// handler of that kind.
func (o *Op) doPolicy() *nl.Policy {
	if o.Do == nil {
		return nil
	}
	return o.Policy
}

func (o *Op) dumpPolicy() *nl.Policy {
	switch {
	case o.Dump == nil:
		return nil
	case o.DumpPolicy != nil:
		return o.DumpPolicy
	}
	return o.Policy
}

// flags returns what the controller reports.
func (o *Op) flags() OpFlags {
	f := o.Flags & (AdminPerm | UnsAdminPerm)
	if o.Do != nil {
		f |= CapDo
	}
	if o.Dump != nil {
		f |= CapDump
	}
	if o.doPolicy() != nil || o.dumpPolicy() != nil {
		f |= CapHasPol
	}
	return f
}

// Group is a multicast group of a family.
type Group struct {
	// Name has 1 to 15 bytes.
	Name string
	// ID asks for this group number, to agree with the kernel's; 0: the next
	// free one.
	ID uint32
	// Needs is a capability over the network namespace that joining takes, 0
	// for none (GENL_MCAST_CAP_NET_ADMIN).
	Needs nl.Cap
}

// Family describes a family to register (struct genl_family).
type Family struct {
	// Name has 1 to 15 bytes (GENL_NAMSIZ).
	Name string
	// ID asks for this family id, to agree with the kernel's; 0: the next
	// free one.
	ID      uint16
	Version uint8
	// HeaderSize is the size of the family's own header behind the
	// genlmsghdr, in bytes.
	HeaderSize int
	// MaxAttr is what the controller reports as CTRL_ATTR_MAXATTR; families
	// with a policy for each operation report 0.
	MaxAttr int
	// ResvStart is the first command whose header is checked for reserved
	// bits (resv_start_op); 0: none is. It is one past the last command for a
	// family older than the check.
	ResvStart uint8
	Ops       []Op
	Groups    []Group
}

const (
	maxName = 15 // GENL_NAMSIZ - 1
	hdrLen  = 4  // GENL_HDRLEN
)

func (f *Family) check() error {
	if f.Name == "" || len(f.Name) > maxName {
		return fmt.Errorf("family name %q has not 1 to %d bytes", f.Name, maxName)
	}
	if f.HeaderSize < 0 || f.HeaderSize%4 != 0 {
		return fmt.Errorf("header size %d is not a multiple of 4", f.HeaderSize)
	}
	seen := make(map[uint8]bool)
	for i := range f.Ops {
		o := &f.Ops[i]
		if o.Do == nil && o.Dump == nil {
			return fmt.Errorf("command %d has no handler", o.Cmd)
		}
		if seen[o.Cmd] {
			return fmt.Errorf("command %d is there twice", o.Cmd)
		}
		seen[o.Cmd] = true
	}
	for _, g := range f.Groups {
		if g.Name == "" || len(g.Name) > maxName {
			return fmt.Errorf("group name %q has not 1 to %d bytes", g.Name, maxName)
		}
	}
	return nil
}

func (f *Family) op(cmd uint8) *Op {
	for i := range f.Ops {
		if f.Ops[i].Cmd == cmd {
			return &f.Ops[i]
		}
	}
	return nil
}

// Registered is a registered family.
type Registered struct {
	reg    *Registry
	family Family
	id     uint16
	// groupIDs are the group numbers, by the index in Family.Groups.
	groupIDs []uint32
}

// ID returns the family id, the message type of its requests.
func (f *Registered) ID() uint16 { return f.id }

// GroupID returns the number of the group with that index in Family.Groups.
func (f *Registered) GroupID(i int) uint32 { return f.groupIDs[i] }

// message appends a generic netlink message of the family (genlmsg_put).
func (f *Registered) message(e *nl.Encoder, h netlink.Header, cmd uint8, fill func(*nl.Encoder) error) error {
	h.Type = netlink.HeaderType(f.id)
	return e.Message(h, f.body(cmd, fill))
}

// body writes the genlmsghdr and what fill adds.
func (f *Registered) body(cmd uint8, fill func(*nl.Encoder) error) func(*nl.Encoder) error {
	return func(e *nl.Encoder) error {
		e.Raw([]byte{cmd, f.family.Version, 0, 0})
		if fill == nil {
			return nil
		}
		return fill(e)
	}
}

// Notify sends a message to the members of a group, by its index in
// Family.Groups, with port id 0 and the sequence number given. ns is where it
// happened, zero for all namespaces. fill is called only if there is a member;
// it writes what follows the genlmsghdr, and its error is returned.
func (f *Registered) Notify(ns nl.NetNS, group int, seq uint32, cmd uint8, fill func(*nl.Encoder) error) error {
	srv, id := f.reg.srv, f.groupIDs[group]
	if !srv.HasListeners(nl.ProtoGeneric, ns, id) {
		return nil
	}
	var e nl.Encoder
	if err := f.message(&e, netlink.Header{Sequence: seq}, cmd, fill); err != nil {
		return err
	}
	srv.Notify(nl.Notification{Proto: nl.ProtoGeneric, NetNS: ns, Group: id, Data: e.Bytes()})
	return nil
}

// Request is a request to a family.
type Request struct {
	*nl.Request
	// Cmd and Version are those of the genlmsghdr.
	Cmd, Version uint8
	// UserHeader is the family's own header.
	UserHeader []byte
	// Attrs are the attributes that the operation's policy let pass.
	Attrs nl.Attrs

	fam *Registered
}

// Reply sends one message to the requester; fill writes what follows the
// genlmsghdr.
func (r *Request) Reply(cmd uint8, fill func(*nl.Encoder) error) error {
	return r.Request.Reply(netlink.HeaderType(r.fam.id), 0, r.fam.body(cmd, fill))
}

// NotifyAs is Registered.Notify for an event that this request caused, in its
// network namespace: with NLM_F_ECHO it carries the request's sequence number
// and port id, and the requester gets it too (genl_notify).
func (r *Request) NotifyAs(group int, seq uint32, cmd uint8, fill func(*nl.Encoder) error) error {
	if !r.Echo() {
		return r.fam.Notify(r.NetNS(), group, seq, cmd, fill)
	}
	var e nl.Encoder
	if err := r.fam.message(&e, r.ReplyHeader(0, 0), cmd, fill); err != nil {
		return err
	}
	r.Notify(nl.Notification{
		Proto: nl.ProtoGeneric, NetNS: r.NetNS(), Group: r.fam.groupIDs[group], Data: e.Bytes(),
	})
	return nil
}

// Require returns the attribute of type t, or EINVAL naming it as missing
// (GENL_REQ_ATTR_CHECK).
func (r *Request) Require(t uint16) (nl.Attr, error) {
	a, ok := r.Attrs.Get(t)
	if !ok {
		return a, nl.Missing(t, 0)
	}
	return a, nil
}

// Dump is the answer to a dump request; see nl.Dump.
type Dump struct {
	// Cmd is the command of every message.
	Cmd uint8
	// Flags are added to the messages' flags.
	Flags netlink.HeaderFlags
	// Next writes what follows the genlmsghdr of the next message: io.EOF
	// after the last, nl.ErrSkip for none this time.
	Next func(*nl.Encoder) error
	// Done and Generation may be nil.
	Done       func()
	Generation func() uint64
}

// errBusy says that an id or a name is taken.
func errBusy(what string) error {
	return fmt.Errorf("genl: %s: %w", what, syscall.EEXIST)
}
