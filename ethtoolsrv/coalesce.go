package ethtoolsrv

import (
	"syscall"

	"ipoib/datapath"
	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// coalesce answers COALESCE_GET with the two parameters that the driver has.
func coalesce(q *query) (fillFunc, error) { return coalesceFill(&q.info), nil }

func coalesceFill(info *datapath.Info) fillFunc {
	return func(e *nl.Encoder) {
		e.U32(ethnl.CoalesceRxUsecs, info.Coalesce.RxUsecs)
		e.U32(ethnl.CoalesceRxMaxFrames, info.Coalesce.RxFrames)
	}
}

// setCoalesce handles COALESCE_SET (kernel ethnl_set_coalesce): the first
// parameter, by number, that the driver does not have is refused.
func setCoalesce(q *query) error {
	var usecs, frames *uint32
	for a := range q.Attrs.All() {
		v := a.Uint32()
		switch a.Type {
		case ethnl.CoalesceHeader:
		case ethnl.CoalesceRxUsecs:
			usecs = &v
		case ethnl.CoalesceRxMaxFrames:
			frames = &v
		default:
			return nl.BadAttr(syscall.EINVAL, a, "cannot modify an unsupported parameter")
		}
	}
	return q.dev.SetCoalesce(usecs, frames)
}
