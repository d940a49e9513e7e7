package mad_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
	"ipoib/rdma/mad/madtest"
)

const (
	clientLID rdma.LID = 2
	serverLID rdma.LID = 1
)

var saMethods = []uint8{
	uint8(mad.MethodGet), uint8(mad.MethodSet), uint8(mad.MethodGetTable), uint8(mad.MethodDelete),
	uint8(mad.MethodReport), uint8(mad.MethodGetMulti),
}

// saPair is a client and a server that answers with handle.
type saPair struct {
	net    *madtest.Network
	client *mad.Client
	server rdma.MADAgent
	tables *mad.TableServer

	mu   sync.Mutex
	got  []*mad.MAD // requests that the server received
	when []time.Duration
}

type saHandler func(p *saPair, from rdma.MADAddr, req *mad.MAD)

func newSAPair(t *testing.T, cfg mad.ClientConfig, handle saHandler) *saPair {
	t.Helper()
	p := &saPair{net: madtest.New()}
	start := time.Now()
	server, err := p.net.Port(serverLID).RegisterAgent(rdma.MADAgentConfig{
		QP: rdma.QPNGSI, Class: uint8(mad.ClassSA), ClassVersion: mad.SAClassVersion, Methods: saMethods,
		Receive: func(from rdma.MADAddr, b *[rdma.MADSize]byte) {
			if p.tables.Handle(from, b) {
				return
			}
			m := *mad.View(b)
			p.mu.Lock()
			p.got = append(p.got, &m)
			p.when = append(p.when, time.Since(start))
			p.mu.Unlock()
			if handle != nil {
				handle(p, from, &m)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.server = server
	p.tables = mad.NewTableServer(server.Send, mad.TableServerConfig{})
	p.client, err = mad.Open(p.net.Port(clientLID), rdma.MADAgentConfig{
		QP: rdma.QPNGSI, Class: uint8(mad.ClassSA), ClassVersion: mad.SAClassVersion,
	}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.client.Close(); err != nil {
			t.Error(err)
		}
		p.tables.Close()
		p.net.Close()
	})
	return p
}

func (p *saPair) to() rdma.MADAddr { return p.net.Port(serverLID).Addr() }

func (p *saPair) requests() ([]*mad.MAD, []time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got), slices.Clone(p.when)
}

// answerPath answers with a PathRecord.
func answerPath(p *saPair, from rdma.MADAddr, req *mad.MAD) {
	r := *req
	r.Respond(mad.StatusOK)
	var path mad.PathRecord
	_ = req.Attr(&path)
	path.DLID = 7
	r.SetRecord(&path)
	_ = p.server.Send(from, r.Bytes())
}

func pathRequest() *mad.MAD {
	m := mad.New(mad.ClassSA, mad.MethodGet, mad.AttrPathRecord)
	m.SetComponentMask(mad.PRIPoIB)
	m.SetAttr(&mad.PathRecord{NumbPath: 1, PKey: 0xffff})
	return m
}

func TestClientDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSAPair(t, mad.ClientConfig{TID: 41}, answerPath)
		for i := range 3 {
			resp, err := p.client.Do(t.Context(), p.to(), pathRequest().Bytes(), mad.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var path mad.PathRecord
			if err := resp.MAD.Attr(&path); err != nil || path.DLID != 7 || path.PKey != 0xffff {
				t.Errorf("%v %+v", err, path)
			}
			if resp.From.LID != serverLID || resp.Data != nil || uint32(resp.MAD.TID()) != uint32(42+i) {
				t.Errorf("response %+v", resp)
			}
		}
		if got, _ := p.requests(); len(got) != 3 || p.client.Dropped() != 0 {
			t.Errorf("%d requests, %d dropped", len(got), p.client.Dropped())
		}
	})
}

func TestClientStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSAPair(t, mad.ClientConfig{}, func(p *saPair, from rdma.MADAddr, req *mad.MAD) {
			r := *req
			r.Respond(mad.SAStatusNoRecords)
			_ = p.server.Send(from, r.Bytes())
		})
		for _, method := range []mad.Method{mad.MethodGet, mad.MethodGetTable} {
			m := pathRequest()
			m.SetMethod(method)
			resp, err := p.client.Do(t.Context(), p.to(), m.Bytes(), mad.Options{})
			var se *mad.StatusError
			if !errors.As(err, &se) || se.Status != mad.SAStatusNoRecords || se.Method != method || !errors.Is(err, mad.ErrNoRecords) {
				t.Errorf("%v: %v", method, err)
			}
			if resp == nil || resp.MAD.Status() != mad.SAStatusNoRecords {
				t.Errorf("%v: response %v", method, resp)
			}
		}
	})
}

func TestClientRetries(t *testing.T) {
	for _, tc := range []struct {
		name     string
		lose     int // requests
		retries  int
		err      error
		requests int
		took     time.Duration
	}{
		{"no loss", 0, 3, nil, 1, 0},
		{"two lost", 2, 3, nil, 3, 400 * time.Millisecond},
		{"just enough", 3, 3, nil, 4, 600 * time.Millisecond},
		{"too many", 4, 3, mad.ErrTimeout, 4, 800 * time.Millisecond},
		{"no retries", 1, 0, mad.ErrTimeout, 1, 200 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				n := 0
				p := newSAPair(t, mad.ClientConfig{}, func(p *saPair, from rdma.MADAddr, req *mad.MAD) {
					mu.Lock()
					n++
					lost := n <= tc.lose
					mu.Unlock()
					if !lost {
						answerPath(p, from, req)
					}
				})
				start := time.Now()
				_, err := p.client.Do(t.Context(), p.to(), pathRequest().Bytes(), mad.Options{Timeout: 200 * time.Millisecond, Retries: tc.retries})
				if !errors.Is(err, tc.err) {
					t.Errorf("got %v, want %v", err, tc.err)
				}
				if tc.err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%v is no deadline", err)
				}
				if d := time.Since(start); d != tc.took {
					t.Errorf("took %v, want %v", d, tc.took)
				}
				synctest.Wait()
				got, when := p.requests()
				if len(got) != tc.requests {
					t.Fatalf("%d requests, want %d", len(got), tc.requests)
				}
				for i, m := range got {
					if *m != *got[0] {
						t.Errorf("try %d differs: %v, %v", i, m, got[0])
					}
					if when[i] != time.Duration(i)*200*time.Millisecond {
						t.Errorf("try %d at %v", i, when[i])
					}
				}
			})
		})
	}
}

// TestClientMismatch: what does not belong to the request must not end it.
func TestClientMismatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSAPair(t, mad.ClientConfig{}, func(p *saPair, from rdma.MADAddr, req *mad.MAD) {
			r := *req
			r.Respond(mad.StatusOK)
			for _, change := range []func(*mad.MAD){
				func(m *mad.MAD) { m.SetTID(m.TID() + 1) },
				func(m *mad.MAD) { m.SetAttrID(mad.AttrMCMemberRecord) },
				func(m *mad.MAD) { m.SetMethod(mad.MethodDeleteResp) },
				func(m *mad.MAD) { m.SetClass(mad.ClassPerf) },
			} {
				c := r
				change(&c)
				_ = p.server.Send(from, c.Bytes())
			}
			time.Sleep(100 * time.Millisecond)
			answerPath(p, from, req)
			answerPath(p, from, req) // a copy
		})
		start := time.Now()
		if _, err := p.client.Do(t.Context(), p.to(), pathRequest().Bytes(), mad.Options{}); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != 100*time.Millisecond {
			t.Errorf("answered after %v", d)
		}
		synctest.Wait()
		if n := p.client.Dropped(); n != 5 {
			t.Errorf("%d responses dropped, want 5", n)
		}
	})
}

func TestClientContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSAPair(t, mad.ClientConfig{MaxOutstanding: 1}, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := p.client.Do(ctx, p.to(), pathRequest().Bytes(), mad.Options{Timeout: time.Minute})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		// The place is free again.
		start := time.Now()
		if _, err = p.client.Do(t.Context(), p.to(), pathRequest().Bytes(), mad.Options{Timeout: time.Second}); !errors.Is(err, mad.ErrTimeout) {
			t.Errorf("got %v", err)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("took %v", d)
		}
	})
}

func TestClientQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSAPair(t, mad.ClientConfig{MaxOutstanding: 2, MaxQueued: 4}, func(p *saPair, from rdma.MADAddr, req *mad.MAD) {
			go func() {
				time.Sleep(100 * time.Millisecond)
				answerPath(p, from, req)
			}()
		})
		start := time.Now()
		var mu sync.Mutex
		ends := map[int]time.Duration{}
		errs := map[int]error{}
		var cancels []func()
		for i := range 8 {
			cancels = append(cancels, p.client.Start(p.to(), pathRequest().Bytes(), mad.Options{}, func(_ *mad.Response, err error) {
				mu.Lock()
				defer mu.Unlock()
				ends[i], errs[i] = time.Since(start), err
			}))
		}
		cancels[3]()
		cancels[3]()
		synctest.Wait()
		mu.Lock()
		if len(ends) != 2 || !errors.Is(errs[6], rdma.ErrQueueFull) || !errors.Is(errs[7], rdma.ErrQueueFull) {
			t.Errorf("at once: %v", errs)
		}
		mu.Unlock()
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		for i, want := range map[int]time.Duration{0: 100, 1: 100, 2: 200, 4: 200, 5: 300} {
			if ends[i] != want*time.Millisecond || errs[i] != nil {
				t.Errorf("request %d: %v after %v, want %v", i, errs[i], ends[i], want*time.Millisecond)
			}
		}
		if _, ok := ends[3]; ok {
			t.Error("a cancelled request called back")
		}
		if got, _ := p.requests(); len(got) != 5 {
			t.Errorf("%d requests were sent", len(got))
		}
	})
}

func TestClientClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSAPair(t, mad.ClientConfig{MaxOutstanding: 1}, nil)
		errs := make(chan error, 3)
		for range 3 {
			p.client.Start(p.to(), pathRequest().Bytes(), mad.Options{Timeout: time.Hour}, func(_ *mad.Response, err error) { errs <- err })
		}
		synctest.Wait()
		if err := p.client.Close(); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := <-errs; !errors.Is(err, rdma.ErrClosed) {
				t.Errorf("got %v", err)
			}
		}
		if _, err := p.client.Do(t.Context(), p.to(), pathRequest().Bytes(), mad.Options{}); !errors.Is(err, rdma.ErrClosed) {
			t.Errorf("behind Close: %v", err)
		}
	})
}

// TestClientCloseInside closes the client from a callback on the agent's
// goroutine.
func TestClientCloseInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSAPair(t, mad.ClientConfig{}, answerPath)
		done := make(chan error, 1)
		p.client.Start(p.to(), pathRequest().Bytes(), mad.Options{}, func(*mad.Response, error) { done <- p.client.Close() })
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestClientSendError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSAPair(t, mad.ClientConfig{}, answerPath)
		agent := p.client.Agent().(*madtest.Agent)
		down := errors.New("port is down")
		agent.SetSendError(down)
		start := time.Now()
		if _, err := p.client.Do(t.Context(), p.to(), pathRequest().Bytes(), mad.Options{Retries: 5}); !errors.Is(err, down) || time.Since(start) != 0 {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		// A full queue is loss, also while repeating.
		agent.SetSendError(rdma.ErrQueueFull)
		time.AfterFunc(1500*time.Millisecond, func() { agent.SetSendError(nil) })
		if _, err := p.client.Do(t.Context(), p.to(), pathRequest().Bytes(), mad.Options{Retries: 5}); err != nil || time.Since(start) != 2*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

// TestClientUnsolicited: what is no response goes to the user of the agent.
func TestClientUnsolicited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := madtest.New()
		defer net.Close()
		var reports []*mad.MAD
		var c *mad.Client
		c, err := mad.Open(net.Port(clientLID), rdma.MADAgentConfig{
			QP: rdma.QPNGSI, Class: uint8(mad.ClassSA), ClassVersion: 2, Methods: []uint8{uint8(mad.MethodReport)},
			Receive: func(from rdma.MADAddr, b *[rdma.MADSize]byte) {
				m := *mad.View(b)
				reports = append(reports, &m)
				m.Respond(mad.StatusOK)
				_ = c.Agent().Send(from, m.Bytes())
			},
		}, mad.ClientConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		sa, err := mad.Open(net.Port(serverLID), rdma.MADAgentConfig{QP: rdma.QPNGSI, Class: uint8(mad.ClassSA), ClassVersion: 2}, mad.ClientConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer sa.Close()
		m := mad.New(mad.ClassSA, mad.MethodReport, mad.AttrNotice)
		m.SetNotice(mad.NewTrap(mad.TrapMCGroupDeleted, mad.ProducerClassManager, 1, &mad.DetailsGID{}))
		resp, err := sa.Do(t.Context(), net.Port(clientLID).Addr(), m.Bytes(), mad.Options{})
		if err != nil || resp.MAD.Method() != mad.MethodReportResp {
			t.Fatalf("%v %v", resp, err)
		}
		n, err := resp.MAD.Notice()
		if err != nil || n.TrapNumber != mad.TrapMCGroupDeleted || len(reports) != 1 {
			t.Errorf("%v %v, %d reports", n, err, len(reports))
		}
		if _, err := net.Port(clientLID).RegisterAgent(rdma.MADAgentConfig{QP: rdma.QPNGSI, Class: uint8(mad.ClassSA), Methods: []uint8{6}}); !errors.Is(err, rdma.ErrInUse) {
			t.Errorf("second agent for the method: %v", err)
		}
	})
}
