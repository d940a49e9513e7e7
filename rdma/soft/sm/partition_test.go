package sm

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// pkeysOf returns the used part of a port's table.
func pkeysOf(t *testing.T, p rdma.Port) []rdma.PKey {
	t.Helper()
	var out []rdma.PKey
	last := 0
	for i := range p.Attr().PKeyTableLen {
		k, err := p.PKey(i)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, k)
		if k != 0 {
			last = i
		}
	}
	return out[:last+1]
}

// tablesWritten waits until the tables have been written that are to be, in
// virtual time.
func tablesWritten() {
	synctest.Wait()
	time.Sleep(tablesPause)
	synctest.Wait()
}

func TestAllow(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		events := make(chan rdma.EventType, 16)
		defer n.ports[2].Device().SubscribeEvents(func(e rdma.AsyncEvent) { events <- e.Type })()
		guid := n.ports[2].GUID()
		blue := broadcastMGID(1, 2)
		for range 2 { // counted
			if err := n.sm.Allow(guid, 0x8001); err != nil {
				t.Fatal(err)
			}
		}
		tablesWritten()
		if got := pkeysOf(t, n.ports[2]); !slices.Equal(got, keys{0xffff, 0x8001}) {
			t.Errorf("table %v", got)
		}
		if len(events) != 1 || <-events != rdma.EventPKeyChange {
			t.Error("not one P_Key event")
		}
		st := n.sm.State()
		if g, ok := st.Group(blue); !ok || g.Record.PKey != 0x8001 || g.Record.QKey != DefaultGroupQKey || !g.Configured {
			t.Errorf("broadcast group: %v %+v", ok, g)
		}
		r := mad.MCMemberRecord{MGID: blue, PortGID: n.portGID(2), PKey: 0x8001, JoinState: 1}
		if status, _ := n.join(t, 2, mad.MCRJoin, r); status != 0 {
			t.Errorf("join: %v", status)
		}
		r.PortGID = n.portGID(3)
		if status, _ := n.join(t, 3, mad.MCRJoin, r); status != mad.SAStatusReqInvalid {
			t.Errorf("join of a port that is not allowed: %v", status)
		}
		if err := n.sm.Allow(n.ports[3].GUID(), 1); err != nil { // the limited form means the partition
			t.Fatal(err)
		}
		tablesWritten()
		if status, _ := n.join(t, 3, mad.MCRJoin, r); status != 0 {
			t.Errorf("join: %v", status)
		}
		if err := n.sm.Disallow(guid, 0x8001); err != nil {
			t.Fatal(err)
		}
		tablesWritten()
		if got := pkeysOf(t, n.ports[2]); !slices.Equal(got, keys{0xffff, 0x8001}) {
			t.Errorf("taken back once of twice: %v", got)
		}
		if err := n.sm.Disallow(guid, 0x8001); err != nil {
			t.Fatal(err)
		}
		tablesWritten()
		if got := pkeysOf(t, n.ports[2]); !slices.Equal(got, keys{0xffff}) {
			t.Errorf("taken back: %v", got)
		}
		st = n.sm.State()
		if g, _ := st.Group(blue); len(g.Members) != 1 || g.Members[0].GID != n.portGID(3) {
			t.Errorf("members %+v", g.Members)
		}
		if err := n.sm.Disallow(n.ports[3].GUID(), 0x8001); err != nil {
			t.Fatal(err)
		}
		tablesWritten()
		st = n.sm.State()
		if _, ok := st.Group(blue); ok || len(st.Partitions) != 1 {
			t.Errorf("partition without members: %+v", st.Partitions)
		}
		for _, tt := range []struct {
			err  error
			want error
		}{
			{n.sm.Allow(guid, 0x8000), rdma.ErrInvalid}, {n.sm.Allow(0, 0x8001), rdma.ErrInvalid},
			{n.sm.Disallow(guid, 0x8001), rdma.ErrNotFound}, {n.sm.Allow(guid, 0xffff), nil}, {n.sm.Disallow(guid, 0xffff), nil},
		} {
			if !errors.Is(tt.err, tt.want) {
				t.Errorf("%v, want %v", tt.err, tt.want)
			}
		}
	})
}

// TestAllowMany: a port's table fills up, and what does not fit is refused.
func TestAllowMany(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		size := n.ports[2].Attr().PKeyTableLen
		for i := 1; i < size; i++ {
			if err := n.sm.Allow(n.ports[2].GUID(), rdma.PKey(i)); err != nil {
				t.Fatal(i, err)
			}
		}
		if err := n.sm.Allow(n.ports[2].GUID(), 0x4000); !errors.Is(err, rdma.ErrQueueFull) {
			t.Errorf("%v", err)
		}
		tablesWritten()
		got := pkeysOf(t, n.ports[2])
		if len(got) != size {
			t.Errorf("%d entries", len(got))
		}
		if err := n.sm.Disallow(n.ports[2].GUID(), 5); err != nil {
			t.Fatal(err)
		}
		if err := n.sm.Allow(n.ports[2].GUID(), 0x4000); err != nil {
			t.Error(err)
		}
		tablesWritten()
		after := pkeysOf(t, n.ports[2])
		if moved := slices.Index(after, 0xc000); moved < 0 || len(after) != size || after[6] != got[6] {
			t.Errorf("%v", after)
		}
	})
}

// TestAllowInTurn: the first change is written at once, those that follow it
// together.
func TestAllowInTurn(t *testing.T) {
	inVectorNet(t, "", func(t *testing.T, n *vectorNet) {
		events := make(chan rdma.AsyncEvent, 100)
		defer n.ports[2].Device().SubscribeEvents(func(e rdma.AsyncEvent) { events <- e })()
		for i := range 30 { // one block of the table
			if err := n.sm.Allow(n.ports[2].GUID(), rdma.PKey(i+1)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if got := pkeysOf(t, n.ports[2]); !slices.Equal(got, keys{0xffff, 0x8001}) || len(events) != 1 {
			t.Errorf("at once: %v, %d events", got, len(events))
		}
		tablesWritten()
		if got := pkeysOf(t, n.ports[2]); len(got) != 31 || len(events) != 2 {
			t.Errorf("then: %v, %d events", got, len(events))
		}
	})
}

func TestAllowBeforeAndWithFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNet(t)
		sw := n.sw(0x200000, 8)
		a := n.hca("a", 0x100000)
		n.link(a.At(1), sw.At(1))
		s, err := New(port1(t, a), Config{})
		if err != nil {
			t.Fatal(err)
		}
		// Allowed before the port is known.
		if err := s.Allow(0x100001, 0x8001); err != nil {
			t.Fatal(err)
		}
		stop := make(chan error)
		go func() { stop <- s.Run(t.Context()) }()
		n.waitReady(s)
		if got := pkeysOf(t, port1(t, a)); !slices.Equal(got, keys{0xffff, 0x8001}) {
			t.Errorf("table %v", got)
		}
		s.SetPartitions(parsePartitions(t, "Default=0x7fff,ipoib:ALL=full; P=3,indx0:ALL=both; Q=4:ALL_SWITCHES;"))
		tablesWritten()
		if got := pkeysOf(t, port1(t, a)); !slices.Equal(got, keys{0x8003, 0, 0xffff, 3}) {
			t.Errorf("table with a file %v", got)
		}
		if err := s.Allow(0x100001, 0x8005); !errors.Is(err, ErrClosedMembership) {
			t.Errorf("%v", err)
		}
		s.SetPartitions(nil)
		tablesWritten()
		if got := pkeysOf(t, port1(t, a)); !slices.Equal(got[:1], keys{0xffff}) || !slices.Contains(got, 0x8001) || slices.Contains(got, 0x8003) {
			t.Errorf("table with open membership again %v", got)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-stop; err != nil {
			t.Error(err)
		}
	})
}

// TestReload: a new partition file changes tables, groups and memberships, and
// the switch ports enforce it.
func TestReload(t *testing.T) {
	inVectorNet(t, vectorPartitions, func(t *testing.T, n *vectorNet) {
		blue := broadcastMGID(2, 2)
		for _, i := range []int{1, 2} {
			r := mad.MCMemberRecord{MGID: blue, PortGID: n.portGID(i), PKey: 0x8002, JoinState: 1}
			if status, _ := n.join(t, i, mad.MCRJoin, r); status != 0 {
				t.Fatal(status)
			}
		}
		n.sm.SetPartitions(parsePartitions(t, `
Default=0x7fff, ipoib : ALL=full;
Blue=0x8002, ipoib : 0x100001=full, 0x100005=full;
Red=0x8003, ipoib, mtu=3 : ALL_CAS=full;`))
		settle(time.Second)
		for i, want := range map[int]keys{1: {0xffff, 0x8002, 0x8003}, 2: {0xffff, 0, 0x8003}, 3: {0xffff, 0x8002, 0x8003}} {
			if got := pkeysOf(t, n.ports[i]); !slices.Equal(got, want) {
				t.Errorf("adapter %d: %v, want %v", i, got, want)
			}
			var facing mad.PKeyTable
			var info mad.PortInfo
			reqs := []*smp{
				get(nil, []uint8{1}, mad.AttrPKeyTable, mad.PKeyTableMod(0, uint8(i)), &facing),
				get(nil, []uint8{1}, mad.AttrPortInfo, uint32(i), &info),
			}
			if n.sm.run(t.Context(), reqs) != 0 {
				t.Fatal(reqs[0].err)
			}
			for _, k := range want {
				if k != 0 && !slices.Contains(facing[:], k) {
					t.Errorf("switch port %d lacks %v: %v", i, k, facing)
				}
			}
			if !info.PartitionEnforcementInbound || !info.PartitionEnforcementOutbound || slices.Contains(facing[:], 0x0002) {
				t.Errorf("switch port %d: %v %+v", i, facing, info)
			}
		}
		st := n.sm.State()
		if g, _ := st.Group(blue); len(g.Members) != 1 || g.Members[0].GID != n.portGID(1) || g.Record.MLID != 0xc001 {
			t.Errorf("blue: %+v", g)
		}
		if g, ok := st.Group(broadcastMGID(3, 2)); !ok || g.Record.MTU != rdma.MTU1024 {
			t.Errorf("red: %v %+v", ok, g)
		}
		n.sm.SetPartitions(parsePartitions(t, "Default=0x7fff, ipoib, Q_Key=0x80000b1b : ALL=full;"))
		settle(time.Second)
		st = n.sm.State()
		if len(st.Groups) != 1 || st.Groups[0].Record.QKey != 0x80000b1b || st.Groups[0].Record.MLID != 0xc000 {
			t.Errorf("groups: %+v", st.Groups)
		}
	})
}

// TestChangedGroup: members of a group whose parameters change lose it, and are
// asked to register again; nobody else is.
func TestChangedGroup(t *testing.T) {
	inVectorNet(t, "Default=0x7fff, ipoib : ALL=full;\nBlue=0x0002, ipoib : ALL=full;\n", func(t *testing.T, n *vectorNet) {
		blue := broadcastMGID(2, 2)
		r := mad.MCMemberRecord{MGID: blue, PortGID: n.portGID(2), PKey: 0x8002, JoinState: 1}
		if status, _ := n.join(t, 2, mad.MCRJoin, r); status != 0 {
			t.Fatal(status)
		}
		// Another group of the link, which nobody makes again.
		other := n.createRec(2, rdma.MustParseGID("ff12:601b:8002::16"))
		other.PKey = 0x8002
		if status, _ := n.join(t, 2, mad.MCRJoinCreate, other); status != 0 {
			t.Fatal(status)
		}
		asked := make([]int, 4)
		for i := 1; i <= 3; i++ {
			defer n.ports[i].Device().SubscribeEvents(func(e rdma.AsyncEvent) {
				if e.Type == rdma.EventClientReregister {
					asked[i]++
				}
			})()
		}
		for round, file := range []string{
			"Default=0x7fff, ipoib : ALL=full;\nBlue=0x0002, ipoib : ALL=full;\nRed=3 : ALL;\n",
			"Default=0x7fff, ipoib : ALL=full;\nBlue=0x0002, ipoib, mtu=3 : ALL=full;\n",
			"Default=0x7fff, ipoib : ALL=full;\nBlue=0x0002 : ALL=full;\n",
			"Default=0x7fff, ipoib : ALL=full;\nBlue=0x0002, ipoib : ALL=full;\n",
			"Default=0x7fff, ipoib : ALL=full;\n", // that the port's table tells
		} {
			n.sm.SetPartitions(parsePartitions(t, file))
			settle(time.Second)
			if want := []int{0, 1, 2, 2, 2}[round]; asked[2] != want || asked[1] != 0 || asked[3] != 0 {
				t.Errorf("round %d: asked %v", round, asked[1:])
			}
			st := n.sm.State()
			if _, ok := st.Group(other.MGID); ok != (round == 0) {
				t.Errorf("round %d: the link's other group: %v", round, ok)
			}
			status, got := n.join(t, 2, mad.MCRJoin, r)
			switch {
			case round == 1 && got.MTU != rdma.MTU1024, round == 0 && got.MTU != rdma.MTU2048:
				t.Errorf("round %d: %+v", round, got)
			case round == 2 && status != mad.SAStatusInsufficientComponents, round == 4 && status == 0, round != 2 && round != 4 && status != 0:
				t.Errorf("round %d: join: %v", round, status)
			}
		}
	})
}

// TestLargeTables: more P_Keys than one block.
func TestLargeTables(t *testing.T) {
	text := "Default=0x7fff,ipoib:ALL=full;\n"
	for i := 1; i <= 100; i++ {
		text += fmt.Sprintf("P%d=%d:0x100003=full;\n", i, i)
	}
	inVectorNet(t, text, func(t *testing.T, n *vectorNet) {
		got := pkeysOf(t, n.ports[2])
		if len(got) != 101 || got[33] != 0x8021 || got[100] != 0x8064 {
			t.Errorf("%d %v", len(got), got)
		}
		if got := pkeysOf(t, n.ports[3]); !slices.Equal(got, keys{0xffff}) {
			t.Errorf("%v", got)
		}
	})
}
