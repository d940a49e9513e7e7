package sa

import (
	"context"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// startJoin sends a join. Local users go through Multicast.
func (c *Client) startJoin(rec mad.MCMemberRecord, mask mad.ComponentMask, done func(*mad.MCMemberRecord, error)) func() {
	q := request{
		op: "join", gid: rec.MGID, method: mad.MethodSet, attr: mad.AttrMCMemberRecord, mask: mask, record: &rec,
		options: joinOptions,
	}
	return c.start(q, func(r *mad.Response, err error) { done(decodeMember("join", rec.MGID, r, err)) })
}

// startLeave ends join states of a membership.
func (c *Client) startLeave(rec mad.MCMemberRecord, states mad.JoinState, done func(*mad.MCMemberRecord, error)) func() {
	rec.JoinState = states
	q := request{
		op: "leave", gid: rec.MGID, method: mad.MethodDelete, attr: mad.AttrMCMemberRecord, mask: mad.MCRLeave,
		record: &rec, options: joinOptions,
	}
	return c.start(q, func(r *mad.Response, err error) { done(decodeMember("leave", rec.MGID, r, err)) })
}

func decodeMember(op string, gid rdma.GID, r *mad.Response, err error) (*mad.MCMemberRecord, error) {
	if err != nil {
		return nil, err
	}
	rec := new(mad.MCMemberRecord)
	if err := r.MAD.Attr(rec); err != nil {
		return nil, wrap(op, gid, err)
	}
	return rec, nil
}

// Group reads the parameters of a multicast group.
func (c *Client) Group(ctx context.Context, mgid rdma.GID) (*mad.MCMemberRecord, error) {
	const op = "group query"
	r, err := c.do(ctx, request{
		op: op, gid: mgid, method: mad.MethodGet, attr: mad.AttrMCMemberRecord, mask: mad.MCRMGID,
		record: &mad.MCMemberRecord{MGID: mgid}, options: queryOptions,
	})
	return decodeMember(op, mgid, r, err)
}

// Groups lists the multicast groups that fit the components of a record that
// mask selects; an empty mask lists all that the port may see. The SA keeps
// the members to itself.
func (c *Client) Groups(ctx context.Context, rec mad.MCMemberRecord, mask mad.ComponentMask) ([]mad.MCMemberRecord, error) {
	const op = "group table query"
	r, err := c.do(ctx, request{
		op: op, gid: rec.MGID, method: mad.MethodGetTable, attr: mad.AttrMCMemberRecord, mask: mask, record: &rec,
		options: queryOptions,
	})
	if err != nil {
		return nil, err
	}
	out, err := mad.DecodeRecords[mad.MCMemberRecord](r.Data, r.MAD.AttrOffset())
	return out, wrap(op, rec.MGID, err)
}
