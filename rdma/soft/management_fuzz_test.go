package soft

import (
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// FuzzManagement sends any two datagrams of management software to a switch and
// adapters: nothing panics, the registers stay such as a port can have, and the
// switch answers who knows its M_Key.
func FuzzManagement(f *testing.F) {
	for a := range mad.AttrID(0x40) {
		if smaFor(a) == nil {
			continue
		}
		for _, method := range []mad.Method{mad.MethodGet, mad.MethodSet} {
			m := mad.New(mad.ClassSMDirected, method, a)
			for where := range byte(12) {
				f.Add(m[:], m[:], where)
			}
		}
	}
	info := mad.New(mad.ClassSM, mad.MethodSet, mad.AttrPortInfo)
	info.SetAttr(&mad.PortInfo{
		LID: 2, MasterSMLID: 1, MKey: 0x1234, MKeyProtectBits: 3, MKeyLeasePeriod: 9,
		NeighborMTU: rdma.MTU2048, OperationalVLs: 1, GIDPrefix: rdma.DefaultSubnetPrefix,
	})
	for _, a := range []mad.AttrID{mad.AttrClassPortInfo, mad.AttrPortCounters, mad.AttrPortCountersExtended} {
		m := mad.New(mad.ClassPerf, mad.MethodSet, a)
		m.SetAttr(&mad.PortCounters{PortSelect: 1, CounterSelect: 0xffff})
		f.Add(m[:], info[:], byte(2+4))
	}
	f.Fuzz(func(t *testing.T, first, second []byte, where byte) {
		synctest.Test(t, func(t *testing.T) {
			n := newTestNet(t, 2)
			go func() {
				for range n.traps {
				}
			}()
			defer func() {
				must(t, n.agent.Close())
				synctest.Wait()
				close(n.traps)
			}()
			gsi, err := n.port(0).RegisterAgent(rdma.MADAgentConfig{
				QP: rdma.QPNGSI, Class: uint8(mad.ClassPerf), ClassVersion: 1, Receive: func(rdma.MADAddr, *[rdma.MADSize]byte) {},
			})
			must(t, err)
			defer func() { must(t, gsi.Close()) }()
			for i, data := range [][]byte{first, second} {
				var m mad.MAD
				copy(m[:], data)
				m[0], m[2] = mad.BaseVersion, 1
				agent, to := n.agent, rdma.MADAddr{LID: rdma.LID(where>>2)%3 + 1}
				switch where >> (4 * i) & 3 {
				case 0, 1:
					m.SetClass(mad.ClassSMDirected)
					if m.SetRoute([]uint8{uint8(where >> 2 % 4)}[:min(where>>2&3, 1)]) != nil {
						t.Fatal("no route")
					}
					to.LID = rdma.LIDPermissive
				case 2:
					m.SetClass(mad.ClassSM)
				case 3:
					m.SetClass(mad.ClassPerf)
					agent, to.QPN, to.QKey = gsi, rdma.QPNGSI, rdma.QKeyGSI
				}
				_ = agent.Send(to, m.Bytes())
				synctest.Wait()
			}
			time.Sleep(time.Hour)
			for _, nd := range []*node{n.sw.node, n.hcas[0].node, n.hcas[1].node} {
				for _, p := range nd.ports {
					if p == nil {
						continue
					}
					if a := p.attr(); a.LID.IsMulticast() || a.State < rdma.PortDown || a.State > rdma.PortActive ||
						!a.ActiveMTU.IsValid() || a.ActiveMTU > a.MaxMTU {
						t.Errorf("port %d of %q: %+v", p.num, nd.desc, a)
					}
				}
			}
			q := mad.New(mad.ClassSMDirected, mad.MethodGet, mad.AttrNodeInfo)
			q.SetMKey(n.sw.ports[0].info.MKey)
			if r := n.ask(q); r == nil || r.SMPStatus() != mad.StatusOK {
				t.Errorf("the switch answers %v", r)
			}
		})
	})
}
