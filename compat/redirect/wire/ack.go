package wire

import (
	"github.com/mdlayher/netlink"

	"ipoib/nl"
)

// Ack builds the acknowledgement of a request, or with an errno its error
// (netlink_ack): it quotes the whole request, or the header alone when there
// is no error or capAck is set.
func Ack(request []byte, pid uint32, errno int, capAck bool) []byte {
	if len(request) < nl.HeaderLen {
		return nil
	}
	h := nl.ParseHeader(request)
	quote, flags := request, netlink.HeaderFlags(0)
	if errno == 0 || capAck {
		quote, flags = request[:nl.HeaderLen], capped
	}
	p := native.AppendUint32(nil, uint32(-int32(errno)))
	return Append(nil, netlink.Header{Type: netlink.Error, Flags: flags, Sequence: h.Sequence, PID: pid}, append(p, quote...))
}
