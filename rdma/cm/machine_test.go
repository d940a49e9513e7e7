package cm

import (
	"strings"
	"testing"
)

// machineRows are the rows of the state machine (IBA 12.9.7): side, state,
// what happens, the state after it, what is sent and told. What is not listed
// is ignored.
const machineRows = `
active  REQ_SENT      MRA of REQ  MRA_REQ_RCVD
active  REQ_SENT      REP         REP_RCVD      reply
active  REQ_SENT      REJ of REQ  CLOSED        rejected
active  REQ_SENT      DREQ        REQ_SENT      DREP
active  REQ_SENT      time        REQ_SENT      REQ
active  REQ_SENT      more time   CLOSED        REQ, timeout
active  REQ_SENT      close       CLOSED        REJ 4

active  MRA_REQ_RCVD  MRA of REQ  MRA_REQ_RCVD
active  MRA_REQ_RCVD  REP         REP_RCVD      reply
active  MRA_REQ_RCVD  REJ of REQ  CLOSED        rejected
active  MRA_REQ_RCVD  DREQ        MRA_REQ_RCVD  DREP
active  MRA_REQ_RCVD  time        MRA_REQ_RCVD
active  MRA_REQ_RCVD  more time   CLOSED        REQ, timeout
active  MRA_REQ_RCVD  close       CLOSED        REJ 4

active  REP_RCVD      REJ of REP  CLOSED        rejected
active  REP_RCVD      DREQ        TIMEWAIT      DREP, disconnected
active  REP_RCVD      confirm     ESTABLISHED   RTU
active  REP_RCVD      delay       MRA_REP_SENT  MRA
active  REP_RCVD      reject      CLOSED        REJ 3
active  REP_RCVD      close       CLOSED        REJ 28

active  MRA_REP_SENT  REP         MRA_REP_SENT  MRA
active  MRA_REP_SENT  REJ of REP  CLOSED        rejected
active  MRA_REP_SENT  DREQ        TIMEWAIT      DREP, disconnected
active  MRA_REP_SENT  confirm     ESTABLISHED   RTU
active  MRA_REP_SENT  reject      CLOSED        REJ 3
active  MRA_REP_SENT  close       CLOSED        REJ 28

active  ESTABLISHED   REP         ESTABLISHED   RTU
active  ESTABLISHED   REJ of REP  TIMEWAIT      rejected
active  ESTABLISHED   DREQ        TIMEWAIT      DREP, disconnected
active  ESTABLISHED   disconnect  DREQ_SENT     DREQ
active  ESTABLISHED   close       DREQ_SENT     DREQ

active  DREQ_SENT     REJ of REP  TIMEWAIT      disconnected
active  DREQ_SENT     DREQ        TIMEWAIT      DREP, disconnected
active  DREQ_SENT     DREP        TIMEWAIT      disconnected
active  DREQ_SENT     time        DREQ_SENT     DREQ
active  DREQ_SENT     more time   CLOSED        DREQ, disconnected

active  TIMEWAIT      DREQ        TIMEWAIT      DREP
active  TIMEWAIT      time        CLOSED
active  TIMEWAIT      more time   CLOSED

passive REQ_RCVD      REJ of REP  CLOSED
passive REQ_RCVD      accept      REP_SENT      REP
passive REQ_RCVD      delay       MRA_REQ_SENT  MRA
passive REQ_RCVD      reject      CLOSED        REJ 3
passive REQ_RCVD      close       CLOSED        REJ 28

passive MRA_REQ_SENT  REQ         MRA_REQ_SENT  MRA
passive MRA_REQ_SENT  REJ of REP  CLOSED
passive MRA_REQ_SENT  accept      REP_SENT      REP
passive MRA_REQ_SENT  reject      CLOSED        REJ 3
passive MRA_REQ_SENT  close       CLOSED        REJ 28

passive REP_SENT      REQ         REP_SENT      REP
passive REP_SENT      MRA of REP  MRA_REP_RCVD
passive REP_SENT      RTU         ESTABLISHED   established
passive REP_SENT      REJ of REP  CLOSED        rejected
passive REP_SENT      DREQ        TIMEWAIT      DREP, disconnected
passive REP_SENT      data        ESTABLISHED   established
passive REP_SENT      time        REP_SENT      REP
passive REP_SENT      more time   CLOSED        REP, timeout
passive REP_SENT      disconnect  DREQ_SENT     DREQ
passive REP_SENT      close       CLOSED        REJ 28

passive MRA_REP_RCVD  REQ         MRA_REP_RCVD  REP
passive MRA_REP_RCVD  MRA of REP  MRA_REP_RCVD
passive MRA_REP_RCVD  RTU         ESTABLISHED   established
passive MRA_REP_RCVD  REJ of REP  CLOSED        rejected
passive MRA_REP_RCVD  DREQ        TIMEWAIT      DREP, disconnected
passive MRA_REP_RCVD  data        ESTABLISHED   established
passive MRA_REP_RCVD  time        MRA_REP_RCVD
passive MRA_REP_RCVD  more time   CLOSED        REP, timeout
passive MRA_REP_RCVD  disconnect  DREQ_SENT     DREQ
passive MRA_REP_RCVD  close       CLOSED        REJ 28

passive ESTABLISHED   REJ of REP  TIMEWAIT      rejected
passive ESTABLISHED   DREQ        TIMEWAIT      DREP, disconnected
passive ESTABLISHED   disconnect  DREQ_SENT     DREQ
passive ESTABLISHED   close       DREQ_SENT     DREQ

passive DREQ_SENT     REJ of REP  TIMEWAIT      disconnected
passive DREQ_SENT     DREQ        TIMEWAIT      DREP, disconnected
passive DREQ_SENT     DREP        TIMEWAIT      disconnected
passive DREQ_SENT     time        DREQ_SENT     DREQ
passive DREQ_SENT     more time   CLOSED        DREQ, disconnected

passive TIMEWAIT      REQ         TIMEWAIT      REJ 10
passive TIMEWAIT      DREQ        TIMEWAIT      DREP
passive TIMEWAIT      time        CLOSED
passive TIMEWAIT      more time   CLOSED
`

type rowKey struct {
	side     string
	state    State
	stimulus string
}

type rowResult struct {
	next State
	text string
}

func parseRows(t *testing.T) map[rowKey]rowResult {
	t.Helper()
	states := map[string]State{}
	for s := range numStates {
		states[s.String()] = s
	}
	out := map[rowKey]rowResult{}
	for l := range strings.Lines(machineRows) {
		l = strings.TrimSuffix(l, "\n")
		if l == "" {
			continue
		}
		l += strings.Repeat(" ", 60)
		f := func(from, to int) string { return strings.TrimSpace(l[from:to]) }
		st, ok1 := states[f(8, 22)]
		next, ok2 := states[f(34, 48)]
		if !ok1 || !ok2 {
			t.Fatalf("row %q", l)
		}
		out[rowKey{f(0, 8), st, f(22, 34)}] = rowResult{next, f(48, len(l))}
	}
	return out
}

// TestMachine walks every state and lets everything happen there.
func TestMachine(t *testing.T) {
	rows := parseRows(t)
	for side, states := range map[string][]State{
		"active":  {ReqSent, MRAReqRcvd, RepRcvd, MRARepSent, Established, DreqSent, Timewait},
		"passive": {ReqRcvd, MRAReqSent, RepSent, MRARepRcvd, Established, DreqSent, Timewait},
	} {
		for _, st := range states {
			for _, s := range stimuli {
				key := rowKey{side, st, s}
				want, listed := rows[key]
				delete(rows, key)
				if !listed {
					want = rowResult{next: st}
				}
				if s == "REQ" && side == "active" {
					continue // that makes another connection
				}
				inBench(t, func(b *bench) {
					b.reach(side, st)
					ignored := b.cm.Counters().Ignored
					b.stimulate(s)
					mads, events := b.take()
					if got := describe(mads, events); got != want.text || b.conn.State() != want.next {
						t.Errorf("%s %v, %s: %v and %q, not %v and %q", side, st, s, b.conn.State(), got, want.next, want.text)
					}
					if (b.conn.State() == Closed) != (b.cm.Len() == 0) {
						t.Errorf("%s %v, %s: %d connections left in %v", side, st, s, b.cm.Len(), b.conn.State())
					}
					if wire := strings.ToUpper(s[:1]) == s[:1]; wire && !listed && b.cm.Counters().Ignored != ignored+1 {
						t.Errorf("%s %v, %s: not counted", side, st, s)
					}
				})
			}
		}
	}
	for key := range rows {
		t.Errorf("row %v was not tested", key)
	}
}
