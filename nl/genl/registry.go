package genl

import (
	"fmt"
	"slices"
	"sync"
	"syscall"

	"ipoib/nl"

	"github.com/mdlayher/netlink"
)

// Ids of the kernel (uapi/linux/genetlink.h).
const (
	ctrlID     = 0x10 // GENL_ID_CTRL, family and group
	firstID    = 0x13 // GENL_START_ALLOC
	lastID     = 1023 // GENL_MAX_ID
	groupsStep = 64   // group numbers come in machine words
)

// reservedGroups are never given out (genetlink.c: mc_group_start): 0 is
// invalid, 1 is NET_DM's, 16 nlctrl's, 17 and 18 VFS_DQUOT's and PMCRAID's.
var reservedGroups = []uint32{0, 1, 16, 17, 18}

// Registry holds the families. It is the protocol NETLINK_GENERIC of its
// server.
type Registry struct {
	srv  *nl.Server
	ctrl *Registered

	// mu guards what follows. It is not held while handlers run.
	mu     sync.RWMutex
	byID   map[uint16]*Registered
	groups map[uint32]*Group
	nextID uint16
}

// New makes the protocol with nlctrl in it and registers it with srv.
func New(srv *nl.Server) *Registry {
	r := &Registry{
		srv:    srv,
		byID:   make(map[uint16]*Registered),
		groups: make(map[uint32]*Group),
		nextID: firstID,
	}
	r.ctrl = &Registered{reg: r, family: r.controller(), id: ctrlID, groupIDs: []uint32{ctrlID}}
	r.byID[ctrlID] = r.ctrl
	r.groups[ctrlID] = &r.ctrl.family.Groups[0]
	srv.Register(nl.ProtoGeneric, r)
	return r
}

// Register adds a family and announces it and its groups to the controller's
// group "notify". It fails for a malformed description, and with EEXIST for a
// name, family id or group number that is taken.
func (r *Registry) Register(f Family) (*Registered, error) {
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("genl: %w", err)
	}
	f.Ops, f.Groups = slices.Clone(f.Ops), slices.Clone(f.Groups)
	reg := &Registered{reg: r, family: f}
	if err := r.insert(reg); err != nil {
		return nil, err
	}
	r.announce(cmdNewFamily, reg, -1)
	for i := range f.Groups {
		r.announce(cmdNewMcastGrp, reg, i)
	}
	return reg, nil
}

func (r *Registry) insert(reg *Registered) error {
	f := &reg.family
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, other := range r.byID {
		if other.family.Name == f.Name {
			return errBusy("family " + f.Name)
		}
	}
	id, err := r.familyID(f.ID)
	if err != nil {
		return err
	}
	ids, err := r.groupNumbers(f.Groups)
	if err != nil {
		return err
	}
	reg.id, reg.groupIDs = id, ids
	r.byID[id] = reg
	for i, g := range ids {
		r.groups[g] = &f.Groups[i]
	}
	return nil
}

// familyID allocates cyclically, as idr_alloc_cyclic does, so that an id is
// not reused at once.
func (r *Registry) familyID(want uint16) (uint16, error) {
	if want != 0 {
		if want < nl.MinType || want > lastID || r.byID[want] != nil {
			return 0, errBusy(fmt.Sprintf("family id %d", want))
		}
		return want, nil
	}
	for range lastID - firstID + 1 {
		id := r.nextID
		if r.nextID++; r.nextID > lastID {
			r.nextID = firstID
		}
		if r.byID[id] == nil {
			return id, nil
		}
	}
	return 0, fmt.Errorf("genl: family ids: %w", syscall.ENOSPC)
}

// groupNumbers finds a number for every group: those asked for, and for the
// others the lowest free run.
func (r *Registry) groupNumbers(gs []Group) ([]uint32, error) {
	taken := func(n uint32) bool { return r.groups[n] != nil || slices.Contains(reservedGroups, n) }
	ids := make([]uint32, len(gs))
	unset := 0
	for i, g := range gs {
		if g.ID == 0 {
			unset++
			continue
		}
		if r.groups[g.ID] != nil || g.ID == ctrlID || slices.Contains(ids[:i], g.ID) {
			return nil, errBusy(fmt.Sprintf("group number %d", g.ID))
		}
		ids[i] = g.ID
	}
	start := uint32(1)
	for n := uint32(1); n-start < uint32(unset); n++ {
		if taken(n) || slices.Contains(ids, n) {
			start = n + 1
		}
	}
	for i := range ids {
		if gs[i].ID == 0 {
			ids[i] = start
			start++
		}
	}
	return ids, nil
}

// Unregister removes a family and announces that. Its groups lose their
// members. A handler that runs is not waited for.
func (r *Registry) Unregister(f *Registered) error {
	r.mu.Lock()
	if r.byID[f.id] != f || f == r.ctrl {
		r.mu.Unlock()
		return fmt.Errorf("genl: family %s: %w", f.family.Name, syscall.ENOENT)
	}
	delete(r.byID, f.id)
	for _, g := range f.groupIDs {
		delete(r.groups, g)
	}
	r.mu.Unlock()
	for i, g := range f.groupIDs {
		r.srv.DropGroup(nl.ProtoGeneric, g)
		r.announce(cmdDelMcastGrp, f, i)
	}
	r.announce(cmdDelFamily, f, -1)
	return nil
}

// Groups implements nl.Protocol. The kernel allows every number of its
// bitmap, whether a family has it or not.
func (r *Registry) Groups() uint32 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var top uint32
	for g := range r.groups {
		top = max(top, g)
	}
	return (top/groupsStep + 1) * groupsStep
}

// Bind implements nl.Protocol (genl_bind).
func (r *Registry) Bind(group uint32, capable func(nl.Cap) bool) error {
	r.mu.RLock()
	g := r.groups[group]
	r.mu.RUnlock()
	if g != nil && g.Needs != 0 && !capable(g.Needs) {
		return syscall.EPERM
	}
	return nil
}

func (r *Registry) byName(name string) *Registered {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, f := range r.byID {
		if f.family.Name == name {
			return f
		}
	}
	return nil
}

func (r *Registry) lookup(id uint16) *Registered {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byID[id]
}

// list returns the families by id.
func (r *Registry) list() []*Registered {
	r.mu.RLock()
	defer r.mu.RUnlock()
	fs := make([]*Registered, 0, len(r.byID))
	for _, f := range r.byID {
		fs = append(fs, f)
	}
	slices.SortFunc(fs, func(a, b *Registered) int { return int(a.id) - int(b.id) })
	return fs
}

// Handle implements nl.Protocol (genl_rcv_msg, genl_family_rcv_msg).
func (r *Registry) Handle(req *nl.Request) (nl.DumpStart, error) {
	f := r.lookup(uint16(req.Header.Type))
	if f == nil {
		return nil, syscall.ENOENT
	}
	p := req.Payload()
	hdr := hdrLen + f.family.HeaderSize
	if len(p) < hdr {
		return nil, syscall.EINVAL
	}
	g := &Request{Request: req, Cmd: p[0], Version: p[1], UserHeader: p[hdrLen:hdr], fam: f}
	if err := f.checkHeader(req.Header.Flags, p); err != nil {
		return nil, err
	}
	dump := req.Header.Flags&netlink.Dump == netlink.Dump
	op := f.family.op(g.Cmd)
	if op == nil || dump && op.Dump == nil || !dump && op.Do == nil {
		return nil, syscall.EOPNOTSUPP
	}
	if op.Flags&AdminPerm != 0 && !req.Capable(nl.CapNetAdmin) {
		return nil, syscall.EPERM
	}
	if op.Flags&UnsAdminPerm != 0 && !req.NetCapable(nl.CapNetAdmin) {
		return nil, syscall.EPERM
	}
	if dump {
		return func() (*nl.Dump, error) { return g.startDump(op) }, nil
	}
	if err := g.parse(op.doPolicy(), op.Validate&DontValidateStrict != 0); err != nil {
		return nil, err
	}
	return nil, op.Do(g)
}

// checkHeader is genl_header_check.
func (f *Registered) checkHeader(flags netlink.HeaderFlags, p []byte) error {
	if f.family.ResvStart == 0 || p[0] < f.family.ResvStart {
		return nil
	}
	if p[2] != 0 || p[3] != 0 {
		return nl.Errorf(syscall.EINVAL, "genlmsghdr.reserved field is not 0")
	}
	if flags&netlink.Dump == netlink.Dump {
		flags &^= netlink.Dump
	}
	if flags&^(netlink.Request|netlink.Acknowledge|netlink.Echo) != 0 {
		return nl.Errorf(syscall.EINVAL, "ambiguous or reserved bits set in nlmsg_flags")
	}
	return nil
}

func (r *Request) parse(p *nl.Policy, liberal bool) (err error) {
	if p == nil {
		return nil
	}
	mode := nl.Strict
	if liberal {
		mode = nl.Liberal
	}
	r.Attrs, err = r.Parse(hdrLen+r.fam.family.HeaderSize, p, mode)
	return err
}

// startDump is genl_start.
func (r *Request) startDump(op *Op) (*nl.Dump, error) {
	if err := r.parse(op.dumpPolicy(), op.Validate&DontValidateDumpStrict != 0); err != nil {
		return nil, err
	}
	d, err := op.Dump(r)
	if err != nil {
		return nil, err
	}
	return &nl.Dump{
		Type:       netlink.HeaderType(r.fam.id),
		Flags:      d.Flags,
		Next:       r.fam.body(d.Cmd, d.Next),
		Done:       d.Done,
		Generation: d.Generation,
	}, nil
}
