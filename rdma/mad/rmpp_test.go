package mad

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"ipoib/rdma"
)

var rmppStart = time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)

func tableHead() *MAD {
	m := New(ClassSA, MethodGetTableResp, AttrMCMemberRecord)
	m.SetTID(0x0000000500000007)
	m.SetAttrOffset(7)
	m.SetComponentMask(MCRMGID)
	return m
}

func tableData(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = uint8(i*31 + i>>8)
	}
	return b
}

// rmppLink runs a sender against a receiver in virtual time. fate says, for
// each datagram, after which delays copies arrive.
type rmppLink struct {
	now     time.Time
	s       *RMPPSender
	r       *RMPPReceiver
	fate    func(toReceiver bool, n int) []time.Duration
	count   [2]int
	flights []flight
	sent    int
}

type flight struct {
	at         time.Time
	toReceiver bool
	m          MAD
}

func (l *rmppLink) put(toReceiver bool, m *MAD) {
	if m == nil {
		return
	}
	i := 0
	if toReceiver {
		i = 1
	}
	l.count[i]++
	for _, d := range l.fate(toReceiver, l.count[i]) {
		l.flights = append(l.flights, flight{l.now.Add(d), toReceiver, *m})
	}
}

func (l *rmppLink) pump() {
	for m := l.s.Next(l.now); m != nil; m = l.s.Next(l.now) {
		l.sent++
		l.put(true, m)
	}
}

// run until both ends are at rest.
func (l *rmppLink) run(t *testing.T) {
	t.Helper()
	l.pump()
	for range 100000 {
		first := -1
		for i, f := range l.flights {
			if first < 0 || f.at.Before(l.flights[first].at) {
				first = i
			}
		}
		var wake time.Time
		for _, d := range []time.Time{l.s.Deadline(), l.r.Deadline()} {
			if !d.IsZero() && (wake.IsZero() || d.Before(wake)) {
				wake = d
			}
		}
		switch {
		case first >= 0 && (wake.IsZero() || !l.flights[first].at.After(wake)):
			f := l.flights[first]
			l.flights = append(l.flights[:first], l.flights[first+1:]...)
			l.now = f.at
			if f.toReceiver {
				reply, _ := l.r.Receive(l.now, &f.m)
				l.put(false, reply)
			} else {
				reply, _ := l.s.Receive(l.now, &f.m)
				l.put(true, reply)
			}
		case !wake.IsZero():
			l.now = wake
			reply, _ := l.s.Expire(l.now)
			l.put(true, reply)
			reply, _ = l.r.Expire(l.now)
			l.put(false, reply)
		default:
			return
		}
		l.pump()
	}
	t.Fatal("the transfer does not come to an end")
}

func newLink(cfg RMPPConfig, data []byte, fate func(bool, int) []time.Duration) *rmppLink {
	return &rmppLink{
		now: rmppStart, s: NewRMPPSender(cfg, tableHead(), data), r: NewRMPPReceiver(cfg), fate: fate,
	}
}

var onceAtOnce = []time.Duration{time.Millisecond}

func perfect(bool, int) []time.Duration { return onceAtOnce }

func TestRMPPLengths(t *testing.T) {
	for _, n := range []int{0, 1, 56, 199, 200, 201, 400, 1000, 64 * 200, 65*200 + 1, 130*200 + 7, 100000} {
		data := tableData(n)
		l := newLink(RMPPConfig{}, data, perfect)
		l.run(t)
		if !l.s.Done() || !l.r.Done() || !bytes.Equal(l.r.Data(), data) {
			t.Errorf("%d bytes: %v %v, got %d", n, l.s.Err(), l.r.Err(), len(l.r.Data()))
		}
		if want := max((n+199)/200, 1); l.sent != want {
			t.Errorf("%d bytes: %d segments, want %d", n, l.sent, want)
		}
		if h := l.r.Header(); h.AttrOffset() != 7 || h.TID() != 0x500000007 || h.ComponentMask() != MCRMGID {
			t.Errorf("headers of the transfer: %v", h)
		}
	}
}

// TestRMPPHeaders checks every field of the headers of one transfer.
func TestRMPPHeaders(t *testing.T) {
	s := NewRMPPSender(RMPPConfig{}, tableHead(), tableData(450))
	r := NewRMPPReceiver(RMPPConfig{Window: 10})
	base := RMPPHeader{Version: 1, Type: RMPPData, RRespTime: 31, Flags: RMPPFlagActive}
	want := []RMPPHeader{base, base, base}
	want[0].Flags |= RMPPFlagFirst
	want[0].Segment, want[0].Data2 = 1, 450+3*20
	want[1].Segment, want[1].Data2 = 2, 0
	want[2].Flags |= RMPPFlagLast
	want[2].Segment, want[2].Data2 = 3, 50+20
	acks := []*RMPPHeader{
		{Version: 1, Type: RMPPAck, RRespTime: 31, Flags: RMPPFlagActive, Segment: 1, Data2: 11}, nil,
		{Version: 1, Type: RMPPAck, RRespTime: 31, Flags: RMPPFlagActive, Segment: 3, Data2: 11},
	}
	for i := range want {
		m := s.Next(rmppStart)
		if m == nil {
			t.Fatalf("no segment %d", i+1)
		}
		if m.RMPP() != want[i] {
			t.Errorf("segment %d\n got %+v\nwant %+v", i+1, m.RMPP(), want[i])
		}
		if !bytes.Equal(m[:24], tableHead()[:24]) || !bytes.Equal(m[36:56], tableHead()[36:56]) || !m.IsRMPP() {
			t.Errorf("segment %d does not have the headers of the transfer", i+1)
		}
		if i == 0 && s.Next(rmppStart) != nil {
			t.Error("a second segment before the first ACK")
		}
		ack, err := r.Receive(rmppStart, m)
		if err != nil {
			t.Fatal(err)
		}
		if (ack == nil) != (acks[i] == nil) {
			t.Fatalf("ACK of segment %d: %v", i+1, ack)
		}
		if ack == nil {
			continue
		}
		if ack.RMPP() != *acks[i] {
			t.Errorf("ACK of segment %d\n got %+v\nwant %+v", i+1, ack.RMPP(), *acks[i])
		}
		if ack.Method() != MethodGetTable || ack.TID() != m.TID() || ack.Class() != ClassSA || ack.AttrID() != m.AttrID() {
			t.Errorf("ACK %v", ack)
		}
		if !bytes.Equal(ack.SAData(), make([]byte, SADataLen)) {
			t.Error("ACK with data")
		}
		if _, err := s.Receive(rmppStart, ack); err != nil {
			t.Fatal(err)
		}
	}
	if !s.Done() || !r.Done() {
		t.Error("not done")
	}
}

func TestRMPPLossTable(t *testing.T) {
	lose := func(toReceiver bool, which ...int) func(bool, int) []time.Duration {
		return func(to bool, n int) []time.Duration {
			for _, w := range which {
				if to == toReceiver && n == w {
					return nil
				}
			}
			return onceAtOnce
		}
	}
	for _, tc := range []struct {
		name   string
		fate   func(bool, int) []time.Duration
		window uint32
	}{
		{"first segment", lose(true, 1), 4},
		{"first ACK", lose(false, 1), 4},
		{"segment in the window", lose(true, 3), 4},
		{"segment at the end of the window", lose(true, 5), 4},
		{"window ACK", lose(false, 2), 4},
		{"last segment", lose(true, 20), 4},
		{"last ACK", lose(false, 6), 4},
		{"first three tries", lose(true, 1, 2, 3), 4},
		{"all first ACKs of a window of one", lose(false, 1, 3, 5, 7, 9), 1},
		{"everything twice", func(bool, int) []time.Duration { return []time.Duration{1e6, 2e6} }, 4},
		{"late copies", func(_ bool, n int) []time.Duration { return []time.Duration{1e6, 700e6} }, 4},
		{"reordering in the window", func(to bool, n int) []time.Duration {
			return []time.Duration{time.Duration(1+(20-n%20)) * time.Millisecond}
		}, 64},
	} {
		t.Run(tc.name, func(t *testing.T) {
			data := tableData(20*200 - 3)
			l := newLink(RMPPConfig{Window: tc.window}, data, tc.fate)
			l.run(t)
			if !l.s.Done() || !l.r.Done() || !bytes.Equal(l.r.Data(), data) {
				t.Errorf("sender %v %v, receiver %v %v, %d bytes", l.s.Done(), l.s.Err(), l.r.Done(), l.r.Err(), len(l.r.Data()))
			}
		})
	}
}

// TestRMPPRandom runs transfers over links that lose, repeat and reorder.
func TestRMPPRandom(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 4391))
		loss := rnd.Float64() * 0.3
		fate := func(bool, int) []time.Duration {
			var d []time.Duration
			for rnd.Float64() > loss {
				d = append(d, time.Duration(rnd.IntN(400))*time.Millisecond)
				if rnd.IntN(4) > 0 {
					break
				}
			}
			return d
		}
		data := tableData(rnd.IntN(20000))
		cfg := RMPPConfig{Window: uint32(1 + rnd.IntN(30)), Retries: 50, IdleTimeout: time.Hour, TotalTimeout: time.Hour}
		l := newLink(cfg, data, fate)
		l.run(t)
		if !l.r.Done() || !bytes.Equal(l.r.Data(), data) || !l.s.Done() {
			t.Fatalf("seed %d: sender %v, receiver %v, %d of %d bytes", seed, l.s.Err(), l.r.Err(), len(l.r.Data()), len(data))
		}
	}
}

func TestRMPPSilence(t *testing.T) {
	// Nothing arrives: the sender repeats, then gives up.
	l := newLink(RMPPConfig{Timeout: time.Second, Retries: 3}, tableData(1000), func(bool, int) []time.Duration { return nil })
	l.run(t)
	var re *RMPPError
	if err := l.s.Err(); !errors.As(err, &re) || re.Status != RMPPTooManyRetries || re.Remote || !errors.Is(err, ErrTimeout) {
		t.Errorf("%v", err)
	}
	if l.sent != 4 || l.now != rmppStart.Add(4*time.Second) {
		t.Errorf("%d tries until %v", l.sent, l.now.Sub(rmppStart))
	}
	if l.count[1] != 5 {
		t.Errorf("%d datagrams: the receiver is not told", l.count[1])
	}
	// The sender falls silent behind the first segment.
	l = newLink(RMPPConfig{IdleTimeout: 2 * time.Second, Retries: 1000}, tableData(1000), func(to bool, n int) []time.Duration {
		if to && n > 1 {
			return nil
		}
		return onceAtOnce
	})
	l.run(t)
	if err := l.r.Err(); !errors.As(err, &re) || re.Status != RMPPTotalTimeTooLong || !errors.Is(err, ErrTimeout) {
		t.Errorf("%v", err)
	}
	if err := l.s.Err(); !errors.As(err, &re) || re.Status != RMPPTotalTimeTooLong || !re.Remote {
		t.Errorf("%v", err)
	}
	// A sender that is slow but steady hits the total time.
	l = newLink(RMPPConfig{Window: 1, IdleTimeout: 2 * time.Second, TotalTimeout: 10 * time.Second, Timeout: time.Minute}, tableData(100*200),
		func(bool, int) []time.Duration { return []time.Duration{500 * time.Millisecond} })
	l.run(t)
	if err := l.r.Err(); !errors.As(err, &re) || re.Status != RMPPTotalTimeTooLong {
		t.Errorf("%v", err)
	}
	if d := l.now.Sub(rmppStart); d < 10*time.Second || d > 12*time.Second {
		t.Errorf("ended after %v", d)
	}
	if errors.Is(&RMPPError{Status: RMPPBadType}, ErrTimeout) || !errors.Is(ErrTimeout, os.ErrDeadlineExceeded) {
		t.Error("what is a timeout")
	}
}

// TestCompleteRMPP: what OpenSM hands over (V02, V27) becomes a transfer of
// one segment.
func TestCompleteRMPP(t *testing.T) {
	for _, v := range loadSA(t) {
		if v.m.Method() != MethodGetTableResp {
			continue
		}
		m := *v.m
		m[255] = 0xee // what is behind the length is undefined
		CompleteRMPP(&m, v.shown)
		r := NewRMPPReceiver(RMPPConfig{})
		if _, err := r.Receive(rmppStart, &m); err != nil || !r.Done() {
			t.Fatalf("%s: %v", v.name, err)
		}
		if !bytes.Equal(r.Data(), v.m[SADataOff:v.shown]) || m[255] != 0 {
			t.Errorf("%s: %x", v.name, r.Data())
		}
	}
	var m MAD
	CompleteRMPP(&m, 10)
	if m.RMPP().Data2 != SAHeaderLen {
		t.Errorf("%+v", m.RMPP())
	}
	CompleteRMPP(&m, 1000)
	if m.RMPP().Data2 != rmppSegmentLen {
		t.Errorf("%+v", m.RMPP())
	}
}

// FuzzRMPP feeds both machines a series of headers.
func FuzzRMPP(f *testing.F) {
	f.Add([]byte{1, 1, 3, 0, 1, 255, 1, 1, 5, 0, 2, 100})
	f.Add([]byte{1, 2, 1, 0, 1, 65, 1, 3, 1, 1, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		cfg := RMPPConfig{Window: 8, MaxBytes: 3000}
		r := NewRMPPReceiver(cfg)
		s := NewRMPPSender(cfg, tableHead(), tableData(2500))
		now := rmppStart
		for len(in) >= 6 {
			m := tableHead()
			m.SetRMPP(RMPPHeader{
				Version: in[0], Type: RMPPType(in[1]), Flags: in[2], Status: RMPPStatus(in[3]),
				Segment: uint32(in[4]), Data2: uint32(in[5]),
			})
			in = in[6:]
			now = now.Add(time.Millisecond)
			for s.Next(now) != nil {
			}
			_, _ = r.Receive(now, m)
			_, _ = s.Receive(now, m)
			if r.Done() && r.Err() != nil || s.Done() && s.Err() != nil {
				t.Fatal("done and failed")
			}
			if len(r.Data()) > cfg.MaxBytes {
				t.Fatal(fmt.Sprint("more than MaxBytes: ", len(r.Data())))
			}
		}
		_, _ = r.Expire(now.Add(time.Hour))
		_, _ = s.Expire(now.Add(time.Hour))
	})
}

var _ Registrar = rdma.Port(nil)
