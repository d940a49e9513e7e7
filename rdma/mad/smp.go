package mad

import "ipoib/rdma"

// Offsets in subnet management packets (IBA 14.2.1.1 and 14.2.1.2). M_Key is
// in both forms, the rest is of directed-route SMPs:
//
//	4      D (bit 7) | status 15 bits
//	6      hop pointer
//	7      hop count
//	24-31  M_Key
//	32-33  DrSLID
//	34-35  DrDLID
//	64-127 data
//	128    initial path, entry 0 unused, 64 ports
//	192    return path, entry 0 unused, 64 ports
const (
	offHopPointer  = 6
	offHopCount    = 7
	offMKey        = 24
	offDrSLID      = 32
	offDrDLID      = 34
	offInitialPath = 128
	offReturnPath  = 192
)

// MaxHops is the largest number of hops of a directed route (IBA 14.2.2.1).
const MaxHops = 63

// MKey returns the management key of an SMP.
func (m *MAD) MKey() uint64 { return be.Uint64(m[offMKey:]) }

// SetMKey sets the management key of an SMP.
func (m *MAD) SetMKey(k uint64) { be.PutUint64(m[offMKey:], k) }

// IsDirected reports whether the datagram is a directed-route SMP.
func (m *MAD) IsDirected() bool { return m.Class() == ClassSMDirected }

// Direction returns the D bit of a directed-route SMP: false on the way out,
// true on the way back.
func (m *MAD) Direction() bool { return m.Status()&statusDirection != 0 }

// SetDirection sets the D bit of a directed-route SMP.
func (m *MAD) SetDirection(back bool) {
	s := m.Status() &^ statusDirection
	if back {
		s |= statusDirection
	}
	m.SetStatus(s)
}

// SMPStatus returns the status of a directed-route SMP, without the D bit.
func (m *MAD) SMPStatus() Status { return m.Status() &^ statusDirection }

// SetSMPStatus sets the 15 status bits of a directed-route SMP and keeps the
// D bit.
func (m *MAD) SetSMPStatus(s Status) {
	m.SetStatus(m.Status()&statusDirection | s&^statusDirection)
}

// HopPointer returns the index of the current hop.
func (m *MAD) HopPointer() uint8 { return m[offHopPointer] }

// SetHopPointer sets the index of the current hop.
func (m *MAD) SetHopPointer(v uint8) { m[offHopPointer] = v }

// HopCount returns the number of hops of the directed route.
func (m *MAD) HopCount() uint8 { return m[offHopCount] }

// DrSLID and DrDLID return the LIDs at the ends of the directed part of the
// route; rdma.LIDPermissive where the whole route is directed.
func (m *MAD) DrSLID() rdma.LID { return rdma.LID(be.Uint16(m[offDrSLID:])) }

// DrDLID returns the LID at the far end: see DrSLID.
func (m *MAD) DrDLID() rdma.LID { return rdma.LID(be.Uint16(m[offDrDLID:])) }

// SetDrLIDs sets both LIDs.
func (m *MAD) SetDrLIDs(slid, dlid rdma.LID) {
	be.PutUint16(m[offDrSLID:], uint16(slid))
	be.PutUint16(m[offDrDLID:], uint16(dlid))
}

// InitialPath returns the 64 output ports of the way out; entry 0 is not
// used, entry i is taken by the i-th hop.
func (m *MAD) InitialPath() []byte { return m[offInitialPath : offInitialPath+MaxHops+1] }

// ReturnPath returns the 64 ports of the way back, filled in on the way out.
func (m *MAD) ReturnPath() []byte { return m[offReturnPath : offReturnPath+MaxHops+1] }

// SetRoute makes the datagram a directed-route SMP over the given output
// ports, first hop first; none addresses the local node. It fails with
// rdma.ErrInvalid when there are more than MaxHops.
func (m *MAD) SetRoute(ports []uint8) error {
	if len(ports) > MaxHops {
		return rdma.ErrInvalid
	}
	m.SetClass(ClassSMDirected)
	m.SetDirection(false)
	m[offHopPointer], m[offHopCount] = 0, uint8(len(ports))
	m.SetDrLIDs(rdma.LIDPermissive, rdma.LIDPermissive)
	clear(m.InitialPath())
	clear(m.ReturnPath())
	copy(m.InitialPath()[1:], ports)
	return nil
}

// Route returns the output ports of the way out, first hop first.
func (m *MAD) Route() []uint8 {
	n := min(int(m.HopCount()), MaxHops)
	return m.InitialPath()[1 : 1+n]
}
