package sm

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
	"ipoib/rdma/soft"
)

// testLog writes to the test's output with -v.
func testLog(tb testing.TB) *slog.Logger {
	if !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// net is a fabric with a manager.
type net struct {
	tb     testing.TB
	fabric *soft.Fabric
	sm     *SM
}

func newNet(tb testing.TB) *net {
	return &net{tb: tb, fabric: soft.NewFabric(soft.Options{Seed: 1})}
}

func (n *net) hca(name string, guid rdma.GUID, opts ...func(*soft.HCAConfig)) *soft.HCA {
	n.tb.Helper()
	cfg := soft.HCAConfig{Name: name, NodeGUID: guid, Desc: "host " + name}
	for _, o := range opts {
		o(&cfg)
	}
	h, err := n.fabric.AddHCA(cfg)
	if err != nil {
		n.tb.Fatal(err)
	}
	return h
}

func (n *net) sw(guid rdma.GUID, ports int, opts ...func(*soft.SwitchConfig)) *soft.Switch {
	n.tb.Helper()
	cfg := soft.SwitchConfig{NodeGUID: guid, Ports: ports, Desc: fmt.Sprintf("switch %x", guid)}
	for _, o := range opts {
		o(&cfg)
	}
	s, err := n.fabric.AddSwitch(cfg)
	if err != nil {
		n.tb.Fatal(err)
	}
	return s
}

func (n *net) link(a, b soft.End) *soft.Link {
	n.tb.Helper()
	l, err := n.fabric.Connect(a, b)
	if err != nil {
		n.tb.Fatal(err)
	}
	return l
}

// port1 returns port 1 of a channel adapter.
func port1(tb testing.TB, h *soft.HCA) rdma.Port {
	tb.Helper()
	p, err := h.Port(1)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// manage starts a manager at a port and waits for the subnet to be up.
func (n *net) manage(p Port, cfg Config) *SM {
	n.tb.Helper()
	s := n.start(p, cfg)
	n.sm = s
	n.waitReady(s)
	return s
}

// start starts a manager and ends it with the test.
func (n *net) start(p Port, cfg Config) *SM {
	n.tb.Helper()
	if cfg.Log == nil {
		cfg.Log = testLog(n.tb)
	}
	s, err := New(p, cfg)
	if err != nil {
		n.tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	n.tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			n.tb.Errorf("Run: %v", err)
		}
	})
	return s
}

func (n *net) waitReady(s *SM) {
	n.tb.Helper()
	select {
	case <-s.Ready():
	case <-time.After(time.Minute):
		n.tb.Fatalf("subnet is not up: %+v", s.State().Stats)
	}
}

// settle lets a sweep that was triggered run to its end.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// saClient returns a client of the SA at a port.
func (n *net) saClient(p rdma.Port) *mad.Client {
	n.tb.Helper()
	c, err := mad.Open(p, rdma.MADAgentConfig{
		QP: rdma.QPNGSI, Class: uint8(mad.ClassSA), ClassVersion: mad.SAClassVersion,
	}, mad.ClientConfig{})
	if err != nil {
		n.tb.Fatal(err)
	}
	n.tb.Cleanup(func() { _ = c.Close() })
	return c
}

// ask sends a request to the SA.
func (n *net) ask(c *mad.Client, p rdma.Port, m *mad.MAD) (*mad.Response, error) {
	a := p.Attr()
	to := rdma.MADAddr{LID: a.SMLID, SL: a.SMSL, QPN: rdma.QPNGSI, QKey: rdma.QKeyGSI}
	return c.Do(context.Background(), to, m.Bytes(), mad.Options{Timeout: 500 * time.Millisecond, Retries: 1})
}

// saClient2 is saClient for an adapter of the vector fabric.
func (n *vectorNet) saClient2(t *testing.T, i int) *mad.Client {
	t.Helper()
	return n.saClient(n.ports[i])
}

// getTable asks for a table and decodes it.
func getTable[T any, P interface {
	*T
	mad.Attribute
}](t *testing.T, n *vectorNet, c *mad.Client, i int, attr mad.AttrID, mask mad.ComponentMask, rec mad.Attribute, key uint64) []T {
	t.Helper()
	m := mad.New(mad.ClassSA, mad.MethodGetTable, attr)
	m.SetComponentMask(mask)
	m.SetSMKey(key)
	if rec != nil {
		m.SetAttr(rec)
	}
	resp, err := n.ask(c, n.ports[i], m)
	if err != nil {
		t.Fatal(err)
	}
	out, err := mad.DecodeRecords[T, P](resp.Data, resp.MAD.AttrOffset())
	if err != nil {
		t.Fatal(err)
	}
	return out
}
