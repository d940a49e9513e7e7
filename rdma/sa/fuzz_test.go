package sa

import (
	"testing"
	"testing/synctest"
	"time"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// FuzzDatagrams feeds datagrams from the SA to a client with a watcher, a
// membership and a path query under way: nothing panics, and all that was
// asked comes to an end.
func FuzzDatagrams(f *testing.F) {
	report := mad.New(mad.ClassSA, mad.MethodReport, mad.AttrNotice)
	report.SetNotice(mad.NewTrap(mad.TrapMCGroupCreated, mad.ProducerClassManager, saLID, &mad.DetailsGID{GID: mgidA}))
	f.Add(report[:])
	resp := mad.New(mad.ClassSA, mad.MethodSet, mad.AttrMCMemberRecord)
	resp.SetRecord(&mad.MCMemberRecord{MGID: mgidA, JoinState: 1})
	resp.SetMethod(mad.MethodGetResp)
	f.Add(resp[:])
	f.Add([]byte{1, 3, 2, 0x92})
	f.Fuzz(func(t *testing.T, b []byte) {
		synctest.Test(t, func(t *testing.T) {
			c, s := newFake(t)
			var m mad.MAD
			copy(m[:], b)
			s.answer(func(req *mad.MAD) *mad.MAD {
				out := m
				out.SetTID(req.TID())
				return &out
			})
			defer c.WatchGroups(func(GroupEvent) {})()
			ended := make(chan struct{}, 2)
			u := c.Multicast().Join(fullRec(mgidA, 1), mad.MCRJoinCreate, func(*mad.MCMemberRecord, error) { ended <- struct{}{} })
			c.StartPath(query, func(*mad.PathRecord, error) { ended <- struct{}{} })
			s.sendTo(&m)
			time.Sleep(10 * time.Second)
			s.port.raise(rdma.EventClientReregister)
			u.Leave()
			time.Sleep(time.Minute)
			synctest.Wait()
			if len(ended) < 2 {
				t.Errorf("%d of 2 requests ended", len(ended))
			}
		})
	})
}
