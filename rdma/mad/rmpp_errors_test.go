package mad

import (
	"errors"
	"testing"
)

func TestRMPPSizeBound(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(h *RMPPHeader)
		after  int // segments that arrive
	}{
		{"announced", func(*RMPPHeader) {}, 1},
		{"not announced", func(h *RMPPHeader) {
			if h.Segment == 1 {
				h.Data2 = 0
			}
		}, 6},
	} {
		s := NewRMPPSender(RMPPConfig{}, tableHead(), tableData(2000))
		r := NewRMPPReceiver(RMPPConfig{MaxBytes: 1000})
		for i := 1; ; i++ {
			m := *s.Next(rmppStart)
			h := m.RMPP()
			tc.change(&h)
			m.SetRMPP(h)
			reply, err := r.Receive(rmppStart, &m)
			if err == nil {
				if reply != nil {
					_, _ = s.Receive(rmppStart, reply)
				}
				continue
			}
			var re *RMPPError
			if !errors.As(err, &re) || re.Status != RMPPResourcesExhausted || i != tc.after {
				t.Errorf("%s: segment %d: %v", tc.name, i, err)
			}
			if reply.RMPP().Type != RMPPStop || reply.RMPP().Status != RMPPResourcesExhausted {
				t.Errorf("%s: %+v", tc.name, reply.RMPP())
			}
			if _, err := s.Receive(rmppStart, reply); !errors.As(err, &re) || !re.Remote || re.Status != RMPPResourcesExhausted {
				t.Errorf("%s: sender: %v", tc.name, err)
			}
			break
		}
		if r.Data() != nil || !r.Deadline().IsZero() {
			t.Errorf("%s: a failed transfer has data or a deadline", tc.name)
		}
		if _, err := r.Receive(rmppStart, tableHead()); err == nil {
			t.Errorf("%s: used behind its end", tc.name)
		}
	}
	l := newLink(RMPPConfig{MaxBytes: 2000}, tableData(2000), perfect)
	l.run(t)
	if !l.r.Done() {
		t.Errorf("exactly MaxBytes: %v", l.r.Err())
	}
}

// TestRMPPInconsistent feeds each machine what breaks the protocol.
func TestRMPPInconsistent(t *testing.T) {
	data := RMPPHeader{Version: 1, Type: RMPPData, Flags: RMPPFlagActive}
	with := func(h RMPPHeader, f func(*RMPPHeader)) RMPPHeader { f(&h); return h }
	for _, tc := range []struct {
		name string
		segs []RMPPHeader
		want RMPPStatus
	}{
		{"version 2", []RMPPHeader{with(data, func(h *RMPPHeader) { h.Version = 2 })}, RMPPUnsupportedVersion},
		{"type 0", []RMPPHeader{with(data, func(h *RMPPHeader) { h.Type = 0 })}, RMPPBadType},
		{"type 9", []RMPPHeader{with(data, func(h *RMPPHeader) { h.Type = 9 })}, RMPPBadType},
		{"status", []RMPPHeader{with(data, func(h *RMPPHeader) { h.Status, h.Segment, h.Flags = 5, 1, 3 })}, RMPPIllegalStatus},
		{"segment 0", []RMPPHeader{data}, RMPPInconsistentFirst},
		{"segment 0 with First", []RMPPHeader{with(data, func(h *RMPPHeader) { h.Flags |= RMPPFlagFirst })}, RMPPInconsistentFirst},
		{"segment 1 without First", []RMPPHeader{with(data, func(h *RMPPHeader) { h.Segment = 1 })}, RMPPInconsistentFirst},
		{"segment 2 with First", []RMPPHeader{with(data, func(h *RMPPHeader) { h.Segment, h.Flags = 2, 3 })}, RMPPInconsistentFirst},
		{"Last, 19 bytes", []RMPPHeader{with(data, func(h *RMPPHeader) { h.Segment, h.Flags, h.Data2 = 1, 7, 19 })}, RMPPInconsistentLast},
		{"Last, 221 bytes", []RMPPHeader{with(data, func(h *RMPPHeader) { h.Segment, h.Flags, h.Data2 = 1, 7, 221 })}, RMPPInconsistentLast},
		{"Last in front of what came", []RMPPHeader{
			with(data, func(h *RMPPHeader) { h.Segment, h.Flags = 1, 3 }),
			with(data, func(h *RMPPHeader) { h.Segment = 4 }),
			with(data, func(h *RMPPHeader) { h.Segment, h.Flags, h.Data2 = 3, 5, 100 }),
		}, RMPPInconsistentLast},
		{"segment behind Last", []RMPPHeader{
			with(data, func(h *RMPPHeader) { h.Segment, h.Flags = 1, 3 }),
			with(data, func(h *RMPPHeader) { h.Segment, h.Flags, h.Data2 = 3, 5, 100 }),
			with(data, func(h *RMPPHeader) { h.Segment = 4 }),
		}, RMPPInconsistentLast},
		{"Last again without the flag", []RMPPHeader{
			with(data, func(h *RMPPHeader) { h.Segment, h.Flags = 1, 3 }),
			with(data, func(h *RMPPHeader) { h.Segment, h.Flags, h.Data2 = 3, 5, 100 }),
			with(data, func(h *RMPPHeader) { h.Segment = 3 }),
		}, RMPPInconsistentLast},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := NewRMPPReceiver(RMPPConfig{})
			for i, h := range tc.segs {
				m := tableHead()
				m.SetRMPP(h)
				reply, err := r.Receive(rmppStart, m)
				if i < len(tc.segs)-1 {
					if err != nil {
						t.Fatalf("segment %d: %v", h.Segment, err)
					}
					continue
				}
				var re *RMPPError
				if !errors.As(err, &re) || re.Status != tc.want || re.Remote {
					t.Fatalf("got %v, want %v", err, tc.want)
				}
				if h := reply.RMPP(); h.Type != RMPPAbort || h.Status != tc.want {
					t.Errorf("reply %+v", h)
				}
			}
		})
	}
	ack := RMPPHeader{Version: 1, Type: RMPPAck, Flags: RMPPFlagActive}
	for _, tc := range []struct {
		name string
		h    RMPPHeader
		want RMPPStatus // 0: ignored
	}{
		{"window below segment", with(ack, func(h *RMPPHeader) { h.Segment = 1 }), RMPPNewWindowTooSmall},
		{"segment not sent", with(ack, func(h *RMPPHeader) { h.Segment, h.Data2 = 2, 9 }), RMPPSegmentTooBig},
		{"status", with(ack, func(h *RMPPHeader) { h.Segment, h.Data2, h.Status = 1, 9, 3 }), RMPPIllegalStatus},
		{"version", with(ack, func(h *RMPPHeader) { h.Version = 0 }), RMPPUnsupportedVersion},
		{"type", with(ack, func(h *RMPPHeader) { h.Type = 7 }), RMPPBadType},
		{"DATA", with(ack, func(h *RMPPHeader) { h.Type = RMPPData }), 0},
		{"old window", with(ack, func(*RMPPHeader) {}), 0},
	} {
		s := NewRMPPSender(RMPPConfig{}, tableHead(), tableData(1000))
		if s.Next(rmppStart) == nil {
			t.Fatal("nothing to send")
		}
		m := tableHead()
		m.SetRMPP(tc.h)
		reply, err := s.Receive(rmppStart, m)
		if tc.want == 0 {
			if reply != nil || err != nil {
				t.Errorf("%s: %v %v", tc.name, reply, err)
			}
			continue
		}
		var re *RMPPError
		if !errors.As(err, &re) || re.Status != tc.want {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		} else if h := reply.RMPP(); h.Type != RMPPAbort || h.Status != tc.want || reply.Method() != MethodGetTableResp {
			t.Errorf("%s: reply %+v", tc.name, h)
		}
		if s.Next(rmppStart) != nil || !s.Deadline().IsZero() {
			t.Errorf("%s: a failed transfer goes on", tc.name)
		}
	}
}

func TestRMPPAbort(t *testing.T) {
	r := NewRMPPReceiver(RMPPConfig{})
	if r.Abort(RMPPUnspecified) != nil {
		t.Error("abort of a transfer that has not begun")
	}
	s := NewRMPPSender(RMPPConfig{}, tableHead(), tableData(1000))
	if _, err := r.Receive(rmppStart, s.Next(rmppStart)); err != nil {
		t.Fatal(err)
	}
	m := r.Abort(RMPPUnspecified)
	if m == nil || m.RMPP().Type != RMPPAbort || m.Method() != MethodGetTable || r.Err() == nil {
		t.Fatalf("%v %v", m, r.Err())
	}
	if _, err := s.Receive(rmppStart, m); err == nil || err.Error() != "mad: RMPP transfer ended by the peer: status 127 (unspecified)" {
		t.Errorf("%v", err)
	}
	if s.Abort(RMPPUnspecified) != nil || r.Abort(RMPPUnspecified) != nil {
		t.Error("abort of a transfer that is over")
	}
	if _, err := s.Receive(rmppStart, m); err == nil {
		t.Error("used behind its end")
	}
}
