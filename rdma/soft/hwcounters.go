package soft

// hwCounter names a transport counter, as drivers of channel adapters show
// them in hw_counters of sysfs.
type hwCounter uint8

const (
	hwDuplicateRequest hwCounter = iota
	hwImpliedNAK
	hwLocalACKTimeout
	hwOutOfBuffer
	hwOutOfSequence
	hwPacketSeqErr
	hwReqCQEError
	hwReqCQEFlush
	hwReqRemoteAccess
	hwReqRemoteInvalid
	hwRespCQEError
	hwRespCQEFlush
	hwRespLocalLength
	hwRespRemoteAccess
	hwRetransmits
	hwRetryExceeded
	hwRNRNAKRetry
	hwRNRRetryExceeded
	hwSendRNR
	numHWCounters
)

// hwCounterNames are those of mlx5 where it has the counter, else of rxe
// (completer_retry_err: resends; send_rnr_err: RNR NAKs sent).
var hwCounterNames = [numHWCounters]string{
	hwDuplicateRequest: "duplicate_request",
	hwImpliedNAK:       "implied_nak_seq_err",
	hwLocalACKTimeout:  "local_ack_timeout_err",
	hwOutOfBuffer:      "out_of_buffer",
	hwOutOfSequence:    "out_of_sequence",
	hwPacketSeqErr:     "packet_seq_err",
	hwReqCQEError:      "req_cqe_error",
	hwReqCQEFlush:      "req_cqe_flush_error",
	hwReqRemoteAccess:  "req_remote_access_errors",
	hwReqRemoteInvalid: "req_remote_invalid_request",
	hwRespCQEError:     "resp_cqe_error",
	hwRespCQEFlush:     "resp_cqe_flush_error",
	hwRespLocalLength:  "resp_local_length_error",
	hwRespRemoteAccess: "resp_remote_access_errors",
	hwRetransmits:      "completer_retry_err",
	hwRetryExceeded:    "retry_exceeded_err",
	hwRNRNAKRetry:      "rnr_nak_retry_err",
	hwRNRRetryExceeded: "retry_rnr_exceeded_err",
	hwSendRNR:          "send_rnr_err",
}

// String returns the counter's file name in sysfs.
func (c hwCounter) String() string { return hwCounterNames[c] }

// count counts at the queue pair and at its port.
func (q *qp) count(c hwCounter) {
	q.rc.hw[c]++
	q.port.counters.hw[c].Add(1)
}

// HWCounters returns the transport counters of the port by their names in
// hw_counters of sysfs. implied_nak_seq_err and resp_remote_access_errors
// belong to RDMA operations and stay 0.
func (p *hcaPort) HWCounters() map[string]uint64 {
	m := make(map[string]uint64, numHWCounters)
	for c := range numHWCounters {
		m[c.String()] = p.counters.hw[c].Load()
	}
	return m
}

// HWCounters returns the transport counters of a reliable connected queue
// pair, by the same names; nil for other transports.
func (q *qp) HWCounters() map[string]uint64 {
	if q.rc == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	m := make(map[string]uint64, numHWCounters)
	for c := range numHWCounters {
		m[c.String()] = q.rc.hw[c]
	}
	return m
}

// HWCounters returns the transport counters of all ports of the adapter
// added up.
func (h *HCA) HWCounters() map[string]uint64 {
	m := make(map[string]uint64, numHWCounters)
	for _, p := range h.externalPorts() {
		for c := range numHWCounters {
			m[c.String()] += p.counters.hw[c].Load()
		}
	}
	return m
}
