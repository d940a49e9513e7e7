package rdma

import "fmt"

// Cap is a set of device capabilities.
type Cap uint32

// Capabilities, named after the kernel's.
const (
	// CapUDIPCsum: checksums of IPv4 packets in UD messages are computed and
	// verified by the device (IB_DEVICE_UD_IP_CSUM).
	CapUDIPCsum Cap = 1 << iota
	// CapUDTSO: UD large send of TCP over IPv4 (IBK_UD_TSO).
	CapUDTSO
	// CapUDIP6Csum and CapUDTSO6 are the same for IPv6.
	CapUDIP6Csum
	CapUDTSO6
	// CapBlockMulticastLoopback: a multicast send is not delivered to the
	// sending QP (IBK_BLOCK_MULTICAST_LOOPBACK).
	CapBlockMulticastLoopback
	// CapSRQ: shared receive queues.
	CapSRQ
	// CapRC: the reliable connected transport.
	CapRC
	// CapModerateCQ: completion events can be moderated.
	CapModerateCQ
	// CapReceiveAggregate: a large send that stayed inside the device's
	// fabric, or segments merged by the device, may arrive as one completion
	// (see Offload).
	CapReceiveAggregate
	// CapRCIPCsum: Offload.Checksum is possible on RC messages. A queue pair
	// with ReceiveAggregate receives it undone where the message stayed inside
	// the device's fabric, with WCIPCsumOK.
	CapRCIPCsum
)

// DeviceAttr describes a device; it does not change while the device exists.
type DeviceAttr struct {
	NodeGUID        GUID
	SystemImageGUID GUID
	// NodeType is 1 for a channel adapter, 2 for a switch (IBA 14.2.5.3).
	NodeType uint8
	// NodeDesc is the node description (at most 64 bytes).
	NodeDesc string
	// FirmwareVersion is the text of fw_ver, such as "1.0.0".
	FirmwareVersion string
	// HWVersion is the text of hw_rev, HCAType of hca_type, BoardID of
	// board_id in sysfs.
	HWVersion, HCAType, BoardID string
	VendorID                    uint32
	VendorPartID                uint16
	// BusInfo is the bus address of the device as ethtool -i prints it.
	BusInfo   string
	Caps      Cap
	PortCount int
	// MaxSGE and MaxSRQSGE are scatter/gather entries of a work request.
	MaxSGE, MaxSRQSGE int
	MaxQPWR           int
	MaxCQE            int
}

// Device is an opened channel adapter.
type Device interface {
	// Name is the device name as in /sys/class/infiniband, "soft0".
	Name() string
	Attr() DeviceAttr
	// Port returns port n, counted from 1, or ErrNotFound.
	Port(n int) (Port, error)
	// AllocPD allocates a protection domain.
	AllocPD() (PD, error)
	// CreateCQ creates a completion queue.
	CreateCQ(CQConfig) (CQ, error)
	// SubscribeEvents calls fn for every asynchronous event, one at a time
	// and in order, on a goroutine of the device, until the returned
	// function is called. fn must not block for long.
	SubscribeEvents(fn func(AsyncEvent)) (cancel func())
	// Close releases the device. Objects made from it return ErrClosed.
	Close() error
}

// PD is a protection domain: it makes queue pairs, address handles and
// buffers that may be used together.
type PD interface {
	Device() Device
	CreateQP(QPConfig) (QP, error)
	CreateSRQ(SRQConfig) (SRQ, error)
	CreateAH(AHAttr) (AH, error)
	// Buffers is the pool that send buffers are taken from.
	Buffers() *BufferPool
	Close() error
}

// EventType is the number of an asynchronous event (kernel enum
// ib_event_type).
type EventType uint8

// The events.
const (
	EventCQErr            EventType = 0
	EventQPFatal          EventType = 1
	EventQPReqErr         EventType = 2
	EventQPAccessErr      EventType = 3
	EventCommEst          EventType = 4
	EventSQDrained        EventType = 5
	EventDeviceFatal      EventType = 8
	EventPortActive       EventType = 9
	EventPortErr          EventType = 10
	EventLIDChange        EventType = 11
	EventPKeyChange       EventType = 12
	EventSMChange         EventType = 13
	EventSRQErr           EventType = 14
	EventSRQLimitReached  EventType = 15
	EventQPLastWQEReached EventType = 16
	EventClientReregister EventType = 17
	EventGIDChange        EventType = 18
)

var eventNames = map[EventType]string{
	EventCQErr: "CQ error", EventQPFatal: "QP fatal error",
	EventQPReqErr: "QP request error", EventQPAccessErr: "QP access error",
	EventCommEst: "communication established", EventSQDrained: "send queue drained",
	EventDeviceFatal: "device fatal error", EventPortActive: "port active",
	EventPortErr: "port error", EventLIDChange: "LID change",
	EventPKeyChange: "P_key change", EventSMChange: "SM change",
	EventSRQErr: "SRQ error", EventSRQLimitReached: "SRQ limit reached",
	EventQPLastWQEReached: "last WQE reached",
	EventClientReregister: "client reregister", EventGIDChange: "GID changed",
}

// String prints the kernel's ib_event_msg text.
func (t EventType) String() string {
	if s, ok := eventNames[t]; ok {
		return s
	}
	return fmt.Sprintf("EventType(%d)", uint8(t))
}

// AsyncEvent is an unsolicited event of a device.
type AsyncEvent struct {
	Type EventType
	// Port is the port number of port events, else 0.
	Port int
	// QP, CQ and SRQ name the object of affiliated events.
	QP  QP
	CQ  CQ
	SRQ SRQ
}
