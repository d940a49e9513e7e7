package rtlink

import (
	"encoding/binary"

	"ipoib/nl"
)

// Stats are the counters of a link, in the order of struct rtnl_link_stats64
// (uapi/linux/if_link.h). Its 32-bit sibling has all but the last.
type Stats struct {
	RxPackets, TxPackets, RxBytes, TxBytes     uint64
	RxErrors, TxErrors, RxDropped, TxDropped   uint64
	Multicast, Collisions                      uint64
	RxLengthErrors, RxOverErrors, RxCRCErrors  uint64
	RxFrameErrors, RxFIFOErrors                uint64
	RxMissedErrors                             uint64
	TxAbortedErrors, TxCarrierErrors           uint64
	TxFIFOErrors, TxHeartbeatErrors            uint64
	TxWindowErrors, RxCompressed, TxCompressed uint64
	RxNoHandler, RxOtherhostDropped            uint64
}

const (
	stats64Len = 25
	stats32Len = 24
)

// counters lists the counters in wire order.
func (s *Stats) counters() [stats64Len]*uint64 {
	return [...]*uint64{
		&s.RxPackets, &s.TxPackets, &s.RxBytes, &s.TxBytes,
		&s.RxErrors, &s.TxErrors, &s.RxDropped, &s.TxDropped,
		&s.Multicast, &s.Collisions,
		&s.RxLengthErrors, &s.RxOverErrors, &s.RxCRCErrors,
		&s.RxFrameErrors, &s.RxFIFOErrors,
		&s.RxMissedErrors,
		&s.TxAbortedErrors, &s.TxCarrierErrors,
		&s.TxFIFOErrors, &s.TxHeartbeatErrors,
		&s.TxWindowErrors, &s.RxCompressed, &s.TxCompressed,
		&s.RxNoHandler, &s.RxOtherhostDropped,
	}
}

// stats is the field of an array of counters, each of size bytes. Counters
// that an older kernel does not send are 0, those of a newer one are dropped.
func stats(t uint16, size int, at func(*Link) **Stats) field {
	return field{t,
		func(e *nl.Encoder, t uint16, l *Link) {
			s := *at(l)
			if s == nil {
				return
			}
			var b [stats64Len * 8]byte
			n := 0
			for i, c := range s.counters() {
				if size == 4 && i == stats32Len {
					break
				}
				if size == 4 {
					binary.NativeEndian.PutUint32(b[n:], uint32(*c))
				} else {
					binary.NativeEndian.PutUint64(b[n:], *c)
				}
				n += size
			}
			e.Put(t, b[:n])
		},
		func(a nl.Attr, l *Link, st *store) {
			s := st.newStats()
			b := a.Data
			for _, c := range s.counters() {
				if len(b) < size {
					break
				}
				if size == 4 {
					*c = uint64(binary.NativeEndian.Uint32(b))
				} else {
					*c = binary.NativeEndian.Uint64(b)
				}
				b = b[size:]
			}
			*at(l) = s
		},
	}
}
