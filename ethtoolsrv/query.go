package ethtoolsrv

import (
	"io"
	"syscall"

	"ipoib/datapath"
	"ipoib/nl"
	"ipoib/nl/ethnl"
	"ipoib/nl/genl"
)

// query is a request with what its header says.
type query struct {
	*genl.Request
	srv *Server
	hdr ethnl.Header
	// dev is the interface that the request, or this step of a dump, is
	// about; nil for a request without one. info is its state.
	dev  *datapath.Interface
	info datapath.Info
}

// fillFunc writes the attributes of a reply behind its header.
type fillFunc func(*nl.Encoder)

// at makes q a query about dev.
func (q *query) at(dev *datapath.Interface) {
	q.dev, q.info = dev, dev.Info()
}

// parseHeader reads the header of a request and finds the interface (kernel
// ethnl_parse_header_dev_get). Without one q.dev stays nil, which is an error
// unless optional is set.
func (s *Server) parseHeader(r *genl.Request, a nl.Attr, optional bool) (*query, error) {
	q := &query{Request: r, srv: s, hdr: ethnl.ParseHeader(a)}
	ns := hostNetNS(r.NetNS())
	h := &q.hdr
	switch {
	case h.HasIndex:
		dev := s.drv.ByIndex(ns, int(h.Index.Uint32()))
		if dev == nil || h.Index.Uint32() == 0 {
			return nil, nl.BadAttr(syscall.ENODEV, h.Index, "no device matches ifindex")
		}
		q.at(dev)
		if h.HasName && q.info.Name != h.Name.String() {
			return nil, nl.BadAttr(syscall.ENODEV, h.Attr, "ifindex and name do not match")
		}
	case h.HasName:
		dev := s.drv.ByName(ns, h.Name.String())
		if dev == nil {
			return nil, nl.BadAttr(syscall.ENODEV, h.Name, "no device matches name")
		}
		q.at(dev)
	case !optional:
		return nil, nl.BadAttr(syscall.EINVAL, h.Attr, "neither ifindex nor name specified")
	}
	return q, nil
}

// op makes the operation of a row.
func (row row) op(s *Server, policy *nl.Policy) genl.Op {
	op := genl.Op{Cmd: row.cmd, Policy: policy}
	if row.admin {
		op.Flags = genl.UnsAdminPerm
	}
	if row.set != nil {
		op.Do = func(r *genl.Request) error { return row.doSet(s, r) }
		return op
	}
	op.Do = func(r *genl.Request) error { return row.doGet(s, r) }
	op.Dump = func(r *genl.Request) (*genl.Dump, error) { return row.dump(s, r) }
	return op
}

// headerOf returns the header of a request that must have one.
func (row row) headerOf(r *genl.Request) (nl.Attr, error) {
	hdr, ok := r.Attrs.Get(row.header)
	switch {
	case ok:
		return hdr, nil
	case row.noHeader != nil:
		return nl.Attr{}, row.noHeader
	}
	return nl.Attr{}, nl.Missing(row.header, 0)
}

// doSet handles a SET or ACT request.
func (row row) doSet(s *Server, r *genl.Request) error {
	if row.before != nil {
		if err := row.before(r); err != nil {
			return err
		}
	}
	hdr, err := row.headerOf(r)
	if err != nil {
		return err
	}
	q, err := s.parseHeader(r, hdr, false)
	if err != nil {
		return err
	}
	return row.set(q)
}

// doGet handles a GET request (kernel ethnl_default_doit).
func (row row) doGet(s *Server, r *genl.Request) error {
	hdr, err := row.headerOf(r)
	if err != nil {
		return err
	}
	q, err := s.parseHeader(r, hdr, row.noDevice)
	if err != nil {
		return err
	}
	get, err := row.get(q)
	if err != nil {
		return err
	}
	fill, err := get(q)
	if err != nil {
		return err
	}
	return r.Reply(row.reply, func(e *nl.Encoder) error {
		if q.dev != nil {
			ethnl.AppendHeader(e, row.header, q.info.Ifindex, q.info.Name)
		}
		fill(e)
		return e.Err()
	})
}

// dump answers a GET request for all interfaces of the requester's namespace
// (kernel ethnl_default_dumpit). An interface in the header is checked and
// otherwise ignored; those that have no answer are left out.
func (row row) dump(s *Server, r *genl.Request) (*genl.Dump, error) {
	hdr, _ := r.Attrs.Get(row.header)
	q, err := s.parseHeader(r, hdr, true)
	if err != nil {
		return nil, err
	}
	get, err := row.get(q)
	if err != nil {
		return nil, err
	}
	todo := s.drv.Interfaces(hostNetNS(r.NetNS()))
	return &genl.Dump{Cmd: row.reply, Next: func(e *nl.Encoder) error {
		if len(todo) == 0 {
			return io.EOF
		}
		q.at(todo[0])
		todo = todo[1:]
		fill, err := get(q)
		if err != nil {
			return nl.ErrSkip
		}
		ethnl.AppendHeader(e, row.header, q.info.Ifindex, q.info.Name)
		fill(e)
		return e.Err()
	}}, nil
}
