package rdma

import "fmt"

// CQConfig describes a completion queue.
type CQConfig struct {
	// Depth is the number of completions that it can hold.
	Depth int
	// Handler is called when completions wait. It should Poll until that
	// returns 0; it is never called concurrently with itself, and is called
	// again when completions arrived after its last Poll. nil: the queue is
	// polled only.
	Handler func(CQ)
}

// CQ is a completion queue.
type CQ interface {
	// Poll takes up to len(wcs) completions and returns their number. The
	// buffers of receive completions belong to the caller.
	Poll(wcs []WorkCompletion) int
	// Moderate holds Handler back until frames completions wait or usecs
	// microseconds passed since the first; 0, 0 calls it at once
	// (ib_modify_cq / rdma_set_cq_moderation).
	Moderate(frames, usecs uint16) error
	Close() error
}

// WCStatus is the status of a completion (kernel enum ib_wc_status).
type WCStatus uint8

// The statuses.
const (
	WCSuccess        WCStatus = 0
	WCLocLenErr      WCStatus = 1
	WCLocQPOpErr     WCStatus = 2
	WCLocProtErr     WCStatus = 4
	WCWRFlushErr     WCStatus = 5
	WCRemInvReqErr   WCStatus = 9
	WCRemAccessErr   WCStatus = 10
	WCRemOpErr       WCStatus = 11
	WCRetryExcErr    WCStatus = 12
	WCRNRRetryExcErr WCStatus = 13
	WCRespTimeoutErr WCStatus = 20
	WCGeneralErr     WCStatus = 21
)

var wcNames = map[WCStatus]string{
	WCSuccess: "success", WCLocLenErr: "local length error",
	WCLocQPOpErr: "local QP operation error", WCLocProtErr: "local protection error",
	WCWRFlushErr: "WR flushed", WCRemInvReqErr: "remote invalid request error",
	WCRemAccessErr: "remote access error", WCRemOpErr: "remote operation error",
	WCRetryExcErr: "transport retry counter exceeded", WCRNRRetryExcErr: "RNR retry counter exceeded",
	WCRespTimeoutErr: "response timeout", WCGeneralErr: "general error",
}

// String prints the kernel's ib_wc_status_msg text.
func (s WCStatus) String() string {
	if n, ok := wcNames[s]; ok {
		return n
	}
	return fmt.Sprintf("WCStatus(%d)", uint8(s))
}

// WCOpcode says what a completion completes.
type WCOpcode uint8

// The opcodes.
const (
	WCSend WCOpcode = iota
	WCRecv
)

// WCFlags are properties of a receive completion.
type WCFlags uint8

// The flags.
const (
	// WCGRH: the packet had a global route header; GRH is valid.
	WCGRH WCFlags = 1 << iota
	// WCIPCsumOK: the device verified the IP and TCP/UDP checksums, or they
	// were never computed because the packet did not leave this process.
	WCIPCsumOK
	// WCMulticast: the packet came to a multicast LID.
	WCMulticast
)

// WorkCompletion is one completed work request.
type WorkCompletion struct {
	// ID is the work request's ID (sends).
	ID        uint64
	QP        QP
	Opcode    WCOpcode
	Status    WCStatus
	VendorErr uint32
	// Buf holds the received message, without GRH; the poller owns it.
	Buf   *Buffer
	Flags WCFlags
	// SrcQP, SLID, SL and PKeyIndex describe a received UD message.
	SrcQP     QPN
	SLID      LID
	SL        uint8
	PKeyIndex uint16
	// GRH is valid with WCGRH.
	GRH GRHInfo
	// Offload describes an aggregated message, or one whose transport
	// checksum was not computed (WCIPCsumOK is set then).
	Offload Offload
}

// GRHInfo is what a receiver sees of a global route header.
type GRHInfo struct {
	SGID, DGID   GID
	FlowLabel    uint32
	TrafficClass uint8
	HopLimit     uint8
}

// EventBatch collects the completion handlers that posted work made ready, so
// that the poster runs them on its own goroutine at a point where it holds no
// lock. It saves a goroutine switch per packet. The zero value is ready to
// use; it must not be used concurrently.
type EventBatch struct{ ready []Runner }

// Runner is a completion queue whose handler is to be run.
type Runner interface{ RunHandler() }

// Add is called by providers.
func (b *EventBatch) Add(r Runner) { b.ready = append(b.ready, r) }

// Run runs the collected handlers in order. The caller must hold no lock that
// a handler may take.
func (b *EventBatch) Run() {
	for i := 0; i < len(b.ready); i++ {
		r := b.ready[i]
		b.ready[i] = nil
		r.RunHandler()
	}
	b.ready = b.ready[:0]
}
