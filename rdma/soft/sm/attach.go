package sm

import (
	"errors"

	"ipoib/rdma"
	"ipoib/rdma/mad"
)

// attach registers the manager at its port.
func (s *SM) attach() error {
	defer close(s.attached)
	cfg := mad.ClientConfig{Clock: s.clock, Logger: s.log, MaxOutstanding: s.cfg.MaxOutstanding}
	var err error
	s.smi, err = mad.Open(s.port, rdma.MADAgentConfig{
		QP: rdma.QPNSMI, Class: uint8(mad.ClassSM), ClassVersion: mad.SMClassVersion,
		Methods: []uint8{uint8(mad.MethodGet), uint8(mad.MethodSet), uint8(mad.MethodTrap)},
		Receive: s.receiveSMP, QueueLen: receiveQueue,
	}, cfg)
	if err != nil {
		return err
	}
	s.gsi, err = mad.Open(s.port, rdma.MADAgentConfig{
		QP: rdma.QPNGSI, Class: uint8(mad.ClassSA), ClassVersion: mad.SAClassVersion,
		Methods: saMethods, Receive: s.receiveSA, QueueLen: receiveQueue,
	}, cfg)
	if err != nil {
		return errors.Join(err, s.smi.Close())
	}
	s.tables = mad.NewTableServer(s.gsi.Agent().Send, mad.TableServerConfig{Clock: s.clock, Logger: s.log})
	if err := s.port.SetIsSM(true); err != nil {
		return errors.Join(err, s.gsi.Close(), s.smi.Close())
	}
	return nil
}

// receiveQueue holds a request of every port of a large fabric at a time, as
// after a restart of the manager.
const receiveQueue = 8192

func (s *SM) detach() {
	s.mu.Lock()
	s.state = mad.SMNotActive
	s.setReadyLocked(false)
	s.mu.Unlock()
	if err := s.port.SetIsSM(false); err != nil {
		s.log.Warn("cannot clear IsSM", "err", err)
	}
	s.tables.Close()
	for _, c := range []*mad.Client{s.gsi, s.smi} {
		if err := c.Close(); err != nil {
			s.log.Warn("cannot close the agent", "err", err)
		}
	}
}

// receiveSA takes requests to the SA.
func (s *SM) receiveSA(from rdma.MADAddr, b *[rdma.MADSize]byte) {
	<-s.attached
	m := mad.View(b)
	switch {
	case s.tables == nil:
		return
	case m.Check() != nil:
		s.countMalformed()
		return
	case s.tables.Handle(from, b):
		return
	case s.tables.Busy(from, m):
		return // the answer to a repeated request is under way
	}
	a, ok := s.answer(from, m)
	if !ok {
		return
	}
	switch {
	case a.table:
		if err := s.tables.Send(from, &a.m, a.data); err != nil {
			s.log.Debug("cannot answer", "lid", from.LID, "err", err)
		}
	case a.m.AttrID() == mad.AttrMCMemberRecord && m.Method() == mad.MethodSet && a.m.Status() == mad.StatusOK:
		// A join is answered when the forwarding tables have it, so that
		// nothing is lost that the new member sends at once. OpenSM answers
		// first and leaves that to chance.
		s.mu.Lock()
		s.mft.answers = append(s.mft.answers, joinAnswer{from, a})
		s.mu.Unlock()
	default:
		s.sendAnswer(from, a)
	}
	wake(s.kickMFT)
}

func (s *SM) sendAnswer(to rdma.MADAddr, a *saAnswer) {
	if err := s.gsi.Agent().Send(to, a.m.Bytes()); err != nil {
		s.log.Debug("cannot answer", "lid", to.LID, "err", err)
	}
}

func (s *SM) countMalformed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Malformed++
}

// receiveSMP takes traps and what other managers want.
func (s *SM) receiveSMP(from rdma.MADAddr, b *[rdma.MADSize]byte) {
	<-s.attached
	m := mad.View(b)
	switch {
	case m.Check() != nil:
		s.countMalformed()
	case m.Method() == mad.MethodTrap && m.AttrID() == mad.AttrNotice:
		s.receiveTrap(from, m)
	case m.AttrID() == mad.AttrSMInfo && m.Method() == mad.MethodGet:
		s.answerSMInfo(from, m)
	case m.AttrID() == mad.AttrSMInfo && m.Method() == mad.MethodSet:
		s.controlSM(from, m)
	}
}

// reply sends the answer to a subnet management packet.
func (s *SM) reply(to rdma.MADAddr, m *mad.MAD) {
	m.SetMethod(m.Method().Response())
	if m.IsDirected() {
		m.SetDirection(true)
	}
	if err := s.smi.Agent().Send(to, m.Bytes()); err != nil {
		s.log.Debug("cannot answer", "lid", to.LID, "err", err)
	}
}
