package sa

import (
	"context"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// PathQuery asks for a path.
type PathQuery struct {
	DGID, SGID rdma.GID
	PKey       rdma.PKey
	TClass     uint8
	// Reversible asks for a path that is one in both directions; the kernel's
	// IPoIB leaves it open.
	Reversible bool
}

func (q *PathQuery) request() request {
	mask := mad.PRIPoIB
	if q.Reversible {
		mask |= mad.PRReversible
	}
	return request{
		op: "path query", gid: q.DGID, method: mad.MethodGet, attr: mad.AttrPathRecord, mask: mask,
		record: &mad.PathRecord{
			DGID: q.DGID, SGID: q.SGID, PKey: q.PKey, TClass: q.TClass, NumbPath: 1, Reversible: q.Reversible,
		},
		options: pathOptions,
	}
}

// StartPath asks for a path and calls done with it, or with an error, on a
// goroutine of its own; never from within StartPath. After cancel has returned
// done is not called any more, unless it is being called already.
func (c *Client) StartPath(q PathQuery, done func(*mad.PathRecord, error)) (cancel func()) {
	return c.start(q.request(), func(r *mad.Response, err error) { done(decodePath(q.DGID, r, err)) })
}

// Path asks for a path.
func (c *Client) Path(ctx context.Context, q PathQuery) (*mad.PathRecord, error) {
	r, err := c.do(ctx, q.request())
	return decodePath(q.DGID, r, err)
}

func decodePath(gid rdma.GID, r *mad.Response, err error) (*mad.PathRecord, error) {
	if err != nil {
		return nil, err
	}
	rec := new(mad.PathRecord)
	if err := r.MAD.Attr(rec); err != nil {
		return nil, wrap("path query", gid, err)
	}
	return rec, nil
}
