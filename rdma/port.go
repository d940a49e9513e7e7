package rdma

import "fmt"

// PortState is the logical state of a port (IBA 7.2.7, PortInfo.PortState).
type PortState uint8

// The states.
const (
	PortNop         PortState = 0
	PortDown        PortState = 1
	PortInit        PortState = 2
	PortArmed       PortState = 3
	PortActive      PortState = 4
	PortActiveDefer PortState = 5
)

var portStateNames = [...]string{"NOP", "DOWN", "INIT", "ARMED", "ACTIVE", "ACTIVE_DEFER"}

// String prints the name that sysfs shows after the number.
func (s PortState) String() string {
	if int(s) < len(portStateNames) {
		return portStateNames[s]
	}
	return fmt.Sprintf("PortState(%d)", uint8(s))
}

// PhysState is the physical state of a port (PortInfo.PortPhysicalState).
type PhysState uint8

// The states.
const (
	PhysSleep         PhysState = 1
	PhysPolling       PhysState = 2
	PhysDisabled      PhysState = 3
	PhysTraining      PhysState = 4
	PhysLinkUp        PhysState = 5
	PhysErrorRecovery PhysState = 6
	PhysPhyTest       PhysState = 7
)

var physStateNames = map[PhysState]string{
	PhysSleep: "Sleep", PhysPolling: "Polling", PhysDisabled: "Disabled",
	PhysTraining: "PortConfigurationTraining", PhysLinkUp: "LinkUp",
	PhysErrorRecovery: "LinkErrorRecovery", PhysPhyTest: "Phy Test",
}

// String prints the name that sysfs shows after the number.
func (s PhysState) String() string {
	if n, ok := physStateNames[s]; ok {
		return n
	}
	return "<unknown>"
}

// PortAttr is a snapshot of a port (ibv_query_port, PortInfo).
type PortAttr struct {
	State        PortState
	PhysState    PhysState
	LID          LID
	LMC          uint8
	SMLID        LID
	SMSL         uint8
	SubnetPrefix uint64
	// MaxMTU is what the port is able to do, ActiveMTU what the link uses.
	MaxMTU, ActiveMTU MTU
	ActiveSpeed       LinkSpeed
	ActiveWidth       LinkWidth
	// CapMask is PortInfo.CapabilityMask.
	CapMask        uint32
	GIDTableLen    int
	PKeyTableLen   int
	PKeyViolations uint16
	QKeyViolations uint16
	MaxMsgSize     uint32
}

// Rate returns the rate code of the link as it runs now, 0 when unknown.
func (a PortAttr) Rate() Rate { return LinkRate(a.ActiveWidth, a.ActiveSpeed) }

// PortCounters are the classic PMA counters of a port (IBA 16.1.3.5),
// kept at 64 bits.
type PortCounters struct {
	SymbolErrors, LinkRecovers, LinkDowned      uint64
	RcvErrors, RcvRemotePhysErrors              uint64
	RcvSwitchRelayErrors, XmitDiscards          uint64
	XmitConstraintErrors, RcvConstraintErrors   uint64
	LocalLinkIntegrity, ExcessiveBufferOverruns uint64
	VL15Dropped                                 uint64
	XmitData, RcvData                           uint64 // in 4-byte words
	XmitPkts, RcvPkts                           uint64
	XmitWait                                    uint64
	UnicastXmitPkts, UnicastRcvPkts             uint64
	MulticastXmitPkts, MulticastRcvPkts         uint64
}

// Port is one port of a device.
type Port interface {
	Device() Device
	// Num is the port number, from 1 on a channel adapter.
	Num() int
	// GUID is the port GUID, the lower half of GID 0.
	GUID() GUID
	Attr() PortAttr
	Counters() PortCounters
	// GID returns entry i of the GID table, ErrNotFound past its end.
	GID(i int) (GID, error)
	// FindGID returns the index of a GID, or ErrNotFound.
	FindGID(GID) (int, error)
	// PKey returns entry i of the P_Key table (0 where it is empty),
	// ErrNotFound past its end.
	PKey(i int) (PKey, error)
	// FindPKey returns the index of the entry whose low 15 bits equal p's; a
	// full-member entry wins over a limited one (kernel ib_find_pkey).
	FindPKey(p PKey) (int, error)
	// RegisterAgent attaches management software to QP0 or QP1.
	RegisterAgent(MADAgentConfig) (MADAgent, error)
	// SetIsSM sets or clears the IsSM bit of the capability mask.
	SetIsSM(bool) error
}
