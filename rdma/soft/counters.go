package soft

import (
	"sync/atomic"

	"ipoib/rdma"
)

// counter is one 64-bit event counter.
type counter struct{ atomic.Uint64 }

// portCounters are the counters of one port. The PMA shows them, some of them
// in fewer bits (pma.go); the last group has reasons that the PMA cannot tell
// apart.
type portCounters struct {
	symbolErrors, linkRecovers, linkDowned          counter
	rcvErrors, rcvRemotePhysErrors, rcvSwitchRelay  counter
	xmitDiscards, xmitConstraint, rcvConstraint     counter
	localLinkIntegrity, bufferOverruns, vl15Dropped counter
	xmitData, rcvData, xmitPkts, rcvPkts, xmitWait  counter
	multXmitPkts, multRcvPkts                       counter

	pkeyViolations, qkeyViolations, mkeyViolations counter

	drops [numDropReasons]counter
	hw    [numHWCounters]counter
}

func (c *portCounters) snapshot() rdma.PortCounters {
	return rdma.PortCounters{
		SymbolErrors: c.symbolErrors.Load(), LinkRecovers: c.linkRecovers.Load(),
		LinkDowned: c.linkDowned.Load(), RcvErrors: c.rcvErrors.Load(),
		RcvRemotePhysErrors: c.rcvRemotePhysErrors.Load(), RcvSwitchRelayErrors: c.rcvSwitchRelay.Load(),
		XmitDiscards: c.xmitDiscards.Load(), XmitConstraintErrors: c.xmitConstraint.Load(),
		RcvConstraintErrors: c.rcvConstraint.Load(), LocalLinkIntegrity: c.localLinkIntegrity.Load(),
		ExcessiveBufferOverruns: c.bufferOverruns.Load(), VL15Dropped: c.vl15Dropped.Load(),
		XmitData: c.xmitData.Load(), RcvData: c.rcvData.Load(),
		XmitPkts: c.xmitPkts.Load(), RcvPkts: c.rcvPkts.Load(), XmitWait: c.xmitWait.Load(),
		UnicastXmitPkts: c.xmitPkts.Load() - c.multXmitPkts.Load(), UnicastRcvPkts: c.rcvPkts.Load() - c.multRcvPkts.Load(),
		MulticastXmitPkts: c.multXmitPkts.Load(), MulticastRcvPkts: c.multRcvPkts.Load(),
	}
}

// DropReason says why a packet was dropped.
type DropReason uint8

// The reasons, in the order of the receive checks.
const (
	DropNone DropReason = iota
	DropPortState
	DropLength
	DropLVer
	DropVCRC
	DropLNH
	DropGRH
	DropICRC
	DropBTH
	DropOpcode
	DropDLID
	DropVL
	DropMTU
	DropPKey
	DropQKey
	DropNoQP
	DropQPState
	DropPath
	DropNoGroup
	DropNoBuffer
	DropTooLong
	DropNoRoute
	DropNoAgent
	DropMAD
	DropFault
	numDropReasons
)

var dropNames = [numDropReasons]string{
	DropNone: "none", DropPortState: "port_state", DropLength: "length",
	DropLVer: "lver", DropVCRC: "vcrc", DropLNH: "lnh", DropGRH: "grh",
	DropICRC: "icrc", DropBTH: "bth", DropOpcode: "opcode", DropDLID: "dlid",
	DropVL: "vl", DropMTU: "mtu", DropPKey: "pkey", DropQKey: "qkey",
	DropNoQP: "no_qp", DropQPState: "qp_state", DropPath: "path", DropNoGroup: "no_group",
	DropNoBuffer: "no_buffer", DropTooLong: "too_long",
	DropNoRoute: "no_route", DropNoAgent: "no_agent", DropMAD: "mad",
	DropFault: "fault",
}

// String returns the counter's name, such as "pkey" or "no_route".
func (r DropReason) String() string {
	if r < numDropReasons {
		return dropNames[r]
	}
	return "unknown"
}

// Drops returns how many packets were dropped at the port, by reason.
func (p *port) Drops() map[string]uint64 {
	m := make(map[string]uint64)
	for r := DropNone + 1; r < numDropReasons; r++ {
		if n := p.counters.drops[r].Load(); n != 0 {
			m[r.String()] = n
		}
	}
	return m
}
