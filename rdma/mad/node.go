package mad

import (
	"bytes"

	"ipoib/rdma"
)

// NodeType is the kind of a node (IBA 14.2.5.3).
type NodeType uint8

// The kinds.
const (
	NodeTypeCA     NodeType = 1
	NodeTypeSwitch NodeType = 2
	NodeTypeRouter NodeType = 3
)

// String prints the name that ibnetdiscover uses.
func (t NodeType) String() string {
	switch t {
	case NodeTypeCA:
		return "Ca"
	case NodeTypeSwitch:
		return "Switch"
	case NodeTypeRouter:
		return "Rt"
	}
	return "???"
}

// NodeInfoLen is the length of NodeInfo in bytes.
const NodeInfoLen = 40

// NodeInfo describes a node as seen through one of its ports (IBA 14.2.5.3).
type NodeInfo struct {
	BaseVersion     uint8
	ClassVersion    uint8
	NodeType        NodeType
	NumPorts        uint8
	SystemImageGUID rdma.GUID
	NodeGUID        rdma.GUID
	PortGUID        rdma.GUID
	// PartitionCap is the number of entries of the P_Key table: of the port
	// on a channel adapter, of the management port on a switch.
	PartitionCap uint16
	DeviceID     uint16
	Revision     uint32
	// LocalPortNum is the port that the request came in by.
	LocalPortNum uint8
	VendorID     uint32 // 24 bits
}

// Len returns NodeInfoLen.
func (*NodeInfo) Len() int { return NodeInfoLen }

// Marshal implements Attribute.
func (n *NodeInfo) Marshal(b []byte) {
	_ = b[NodeInfoLen-1]
	b[0], b[1], b[2], b[3] = n.BaseVersion, n.ClassVersion, uint8(n.NodeType), n.NumPorts
	be.PutUint64(b[4:], uint64(n.SystemImageGUID))
	be.PutUint64(b[12:], uint64(n.NodeGUID))
	be.PutUint64(b[20:], uint64(n.PortGUID))
	be.PutUint16(b[28:], n.PartitionCap)
	be.PutUint16(b[30:], n.DeviceID)
	be.PutUint32(b[32:], n.Revision)
	b[36] = n.LocalPortNum
	putUint24(b[37:], n.VendorID)
}

// Unmarshal implements Attribute.
func (n *NodeInfo) Unmarshal(b []byte) error {
	if err := need(b, NodeInfoLen, "NodeInfo"); err != nil {
		return err
	}
	*n = NodeInfo{
		BaseVersion: b[0], ClassVersion: b[1], NodeType: NodeType(b[2]), NumPorts: b[3],
		SystemImageGUID: rdma.GUID(be.Uint64(b[4:])),
		NodeGUID:        rdma.GUID(be.Uint64(b[12:])),
		PortGUID:        rdma.GUID(be.Uint64(b[20:])),
		PartitionCap:    be.Uint16(b[28:]),
		DeviceID:        be.Uint16(b[30:]),
		Revision:        be.Uint32(b[32:]),
		LocalPortNum:    b[36],
		VendorID:        uint24(b[37:]),
	}
	return nil
}

// NodeDescriptionLen is the length of NodeDescription in bytes.
const NodeDescriptionLen = 64

// NodeDescription is the UTF-8 text that names a node, at most 64 bytes, not
// NUL terminated when it is that long (IBA 14.2.5.2).
type NodeDescription [NodeDescriptionLen]byte

// MakeNodeDescription returns s, cut to 64 bytes.
func MakeNodeDescription(s string) NodeDescription {
	var d NodeDescription
	copy(d[:], s)
	return d
}

// String returns the text up to the first NUL.
func (d *NodeDescription) String() string {
	b := d[:]
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// Len returns NodeDescriptionLen.
func (*NodeDescription) Len() int { return NodeDescriptionLen }

// Marshal implements Attribute.
func (d *NodeDescription) Marshal(b []byte) { copy(b[:NodeDescriptionLen], d[:]) }

// Unmarshal implements Attribute.
func (d *NodeDescription) Unmarshal(b []byte) error {
	if err := need(b, NodeDescriptionLen, "NodeDescription"); err != nil {
		return err
	}
	copy(d[:], b)
	return nil
}
