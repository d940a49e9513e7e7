package mad_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
	"ipoib/rdma/mad/madtest"
)

// members returns n records and their table.
func members(n int) ([]mad.MCMemberRecord, []byte) {
	var recs []mad.MCMemberRecord
	var data []byte
	for i := range n {
		r := mad.MCMemberRecord{
			MGID: rdma.MustParseGID("ff12:401b:ffff::1"), MLID: rdma.LID(0xc000 + i), QKey: rdma.QKey(i * 7919),
			MTUSelector: mad.SelectExactly, MTU: rdma.MTU2048, JoinState: mad.JoinFullMember,
		}
		recs = append(recs, r)
		data = mad.AppendRecord(data, &r)
	}
	return recs, data
}

func answerTable(n int) saHandler {
	_, data := members(n)
	return func(p *saPair, from rdma.MADAddr, req *mad.MAD) {
		if p.tables.Busy(from, req) {
			return
		}
		r := *req
		r.Respond(mad.StatusOK)
		if n > 0 {
			r.SetAttrOffset(mad.AttrOffsetOf(new(mad.MCMemberRecord)))
		}
		if err := p.tables.Send(from, &r, data); err != nil {
			panic(err)
		}
	}
}

func tableRequest() *mad.MAD {
	return mad.New(mad.ClassSA, mad.MethodGetTable, mad.AttrMCMemberRecord)
}

func checkTable(t *testing.T, resp *mad.Response, err error, n int) {
	t.Helper()
	if err != nil {
		t.Error(err)
		return
	}
	want, _ := members(n)
	got, err := mad.DecodeRecords[mad.MCMemberRecord](resp.Data, resp.MAD.AttrOffset())
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%d records, want %d: %v", len(got), n, err)
	}
}

func TestTable(t *testing.T) {
	for _, n := range []int{0, 1, 3, 4, 1000} {
		synctest.Test(t, func(t *testing.T) {
			p := newSAPair(t, mad.ClientConfig{}, answerTable(n))
			start := time.Now()
			resp, err := p.client.Do(t.Context(), p.to(), tableRequest().Bytes(), mad.Options{})
			checkTable(t, resp, err, n)
			if time.Since(start) != 0 {
				t.Errorf("took %v", time.Since(start))
			}
			synctest.Wait()
			if p.tables.Busy(p.net.Port(clientLID).Addr(), &resp.MAD) {
				t.Error("the transfer is not over at the server")
			}
		})
	}
}

// TestTableLossy asks for many tables at a time over a network that loses,
// repeats and delays.
func TestTableLossy(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			p := newSAPair(t, mad.ClientConfig{RMPP: mad.RMPPConfig{Window: 8, TotalTimeout: time.Hour}}, answerTable(60))
			p.net.SetFilter(func(madtest.Packet) []time.Duration {
				var d []time.Duration
				for rnd.IntN(100) >= 10 {
					d = append(d, time.Duration(rnd.IntN(150))*time.Millisecond)
					if rnd.IntN(5) > 0 {
						break
					}
				}
				return d
			})
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					resp, err := p.client.Do(t.Context(), p.to(), tableRequest().Bytes(), mad.Options{Retries: 10})
					checkTable(t, resp, err, 60)
				})
			}
			wg.Wait()
		})
	}
}

// TestTableLastACK: the last ACK gets lost, the server repeats its last
// segment, and the client acknowledges it although the transaction is over.
func TestTableLastACK(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSAPair(t, mad.ClientConfig{}, answerTable(1))
		lost := 0
		p.net.SetFilter(func(k madtest.Packet) []time.Duration {
			if k.MAD.RMPP().Type == mad.RMPPAck && lost < 2 {
				lost++
				return nil
			}
			return madtest.Deliver
		})
		resp, err := p.client.Do(t.Context(), p.to(), tableRequest().Bytes(), mad.Options{})
		checkTable(t, resp, err, 1)
		me := p.net.Port(clientLID).Addr()
		if !p.tables.Busy(me, &resp.MAD) {
			t.Fatal("the server does not wait for the ACK")
		}
		time.Sleep(2*mad.DefaultRMPPTimeout + time.Millisecond)
		synctest.Wait()
		if p.tables.Busy(me, &resp.MAD) || lost != 2 {
			t.Errorf("the server still waits, %d ACKs lost", lost)
		}
		if n := p.client.Dropped(); n != 0 {
			t.Errorf("%d datagrams dropped", n)
		}
	})
}

func TestTableCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSAPair(t, mad.ClientConfig{RMPP: mad.RMPPConfig{Window: 1}}, answerTable(100))
		p.net.SetFilter(func(madtest.Packet) []time.Duration { return []time.Duration{50 * time.Millisecond} })
		ctx, cancel := context.WithTimeout(t.Context(), 420*time.Millisecond)
		defer cancel()
		if _, err := p.client.Do(ctx, p.to(), tableRequest().Bytes(), mad.Options{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		req, _ := p.requests()
		me := p.net.Port(clientLID).Addr()
		if !p.tables.Busy(me, req[0]) {
			t.Error("the transfer ended too early")
		}
		time.Sleep(60 * time.Millisecond)
		synctest.Wait()
		if p.tables.Busy(me, req[0]) {
			t.Error("the server was not told")
		}
	})
}

// TestTableSilence: the server dies in the middle.
func TestTableSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSAPair(t, mad.ClientConfig{}, answerTable(100))
		n := 0
		p.net.SetFilter(func(k madtest.Packet) []time.Duration {
			if k.MAD.RMPP().Type == mad.RMPPData {
				if n++; n > 5 {
					return nil
				}
			}
			return madtest.Deliver
		})
		start := time.Now()
		_, err := p.client.Do(t.Context(), p.to(), tableRequest().Bytes(), mad.Options{Retries: 3})
		var re *mad.RMPPError
		if !errors.As(err, &re) || re.Remote && re.Status != mad.RMPPTooManyRetries || !errors.Is(err, mad.ErrTimeout) {
			t.Errorf("got %v", err)
		}
		if d := time.Since(start); d > mad.DefaultRMPPIdleTimeout || d < time.Second {
			t.Errorf("took %v", d)
		}
		if got, _ := p.requests(); len(got) != 1 {
			t.Errorf("%d requests: not to be repeated while the table comes", len(got))
		}
	})
}

// TestTableDeadServer: nothing at all comes any more, so that the client's
// own timer ends the transfer.
func TestTableDeadServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSAPair(t, mad.ClientConfig{}, answerTable(100))
		n := 0
		p.net.SetFilter(func(k madtest.Packet) []time.Duration {
			if k.From == serverLID {
				if n++; n > 5 {
					return nil
				}
			}
			return madtest.Deliver
		})
		start := time.Now()
		_, err := p.client.Do(t.Context(), p.to(), tableRequest().Bytes(), mad.Options{})
		var re *mad.RMPPError
		if !errors.As(err, &re) || re.Remote || re.Status != mad.RMPPTotalTimeTooLong || time.Since(start) != mad.DefaultRMPPIdleTimeout {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

func TestTableTooBig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSAPair(t, mad.ClientConfig{RMPP: mad.RMPPConfig{MaxBytes: 5000}}, answerTable(100))
		_, err := p.client.Do(t.Context(), p.to(), tableRequest().Bytes(), mad.Options{})
		var re *mad.RMPPError
		if !errors.As(err, &re) || re.Status != mad.RMPPResourcesExhausted {
			t.Errorf("got %v", err)
		}
		synctest.Wait()
		req, _ := p.requests()
		if p.tables.Busy(p.net.Port(clientLID).Addr(), req[0]) {
			t.Error("the server was not told")
		}
	})
}

// TestTableWithoutRMPP: a table that does not say how long it is.
func TestTableWithoutRMPP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSAPair(t, mad.ClientConfig{}, func(p *saPair, from rdma.MADAddr, req *mad.MAD) {
			r := *req
			r.Respond(mad.StatusOK)
			r.SetRecord(&mad.MCMemberRecord{MLID: 0xc001})
			_ = p.server.Send(from, r.Bytes())
		})
		if resp, err := p.client.Do(t.Context(), p.to(), tableRequest().Bytes(), mad.Options{}); err == nil || resp == nil {
			t.Errorf("%v %v", resp, err)
		}
	})
}

func TestTableServerLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent []*mad.MAD
		s := mad.NewTableServer(func(_ rdma.MADAddr, b *[rdma.MADSize]byte) error {
			m := *mad.View(b)
			sent = append(sent, &m)
			return nil
		}, mad.TableServerConfig{MaxTransfers: 2})
		resp := func(tid uint64) *mad.MAD {
			m := mad.New(mad.ClassSA, mad.MethodGetTableResp, mad.AttrPathRecord)
			m.SetTID(tid)
			return m
		}
		to := rdma.MADAddr{LID: 9, QPN: 1}
		for i, want := range []error{nil, nil, rdma.ErrQueueFull} {
			if err := s.Send(to, resp(uint64(i)), nil); !errors.Is(err, want) {
				t.Errorf("transfer %d: %v", i, err)
			}
		}
		if err := s.Send(to, resp(1), nil); !errors.Is(err, rdma.ErrInUse) {
			t.Errorf("same transaction ID: %v", err)
		}
		ack := resp(7)
		ack.SetMethod(mad.MethodGetTable)
		ack.SetRMPP(mad.RMPPHeader{Version: 1, Type: mad.RMPPAck, Flags: mad.RMPPFlagActive, Segment: 1, Data2: 1})
		if !s.Handle(to, ack.Bytes()) {
			t.Error("an ACK of no transfer is not the SA's")
		}
		if s.Handle(to, tableRequest().Bytes()) || s.Handle(to, resp(1).Bytes()) {
			t.Error("a request was taken for RMPP")
		}
		s.Close()
		if err := s.Send(to, resp(9), nil); !errors.Is(err, rdma.ErrClosed) {
			t.Errorf("behind Close: %v", err)
		}
		if len(sent) != 4 || sent[3].RMPP().Type != mad.RMPPAbort {
			t.Errorf("%d datagrams", len(sent))
		}
		time.Sleep(time.Minute) // no timer may be left
		if len(sent) != 4 {
			t.Errorf("%d datagrams a minute later", len(sent))
		}
	})
}
