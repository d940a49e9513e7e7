package ipoibface

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"ipoib/nl"
	"ipoib/nl/genl"
	"ipoib/nl/ipoibnl"
	"ipoib/rdma"
	"ipoib/rdma/soft"
)

// endOf returns the fabric port that a request names: itself, or by the
// interface that uses it.
func (f *face) endOf(r *genl.Request, port, ifname string) (soft.End, error) {
	if port == "" {
		i, err := f.iface(r, 0, ifname)
		if err != nil {
			return soft.End{}, err
		}
		info := i.Info()
		port = fmt.Sprintf("%s/%d", info.Device, info.Port)
	}
	return f.Service.Port(port)
}

// capture sends the frames at a port to the client until it leaves. Frames
// that it does not read in time are lost and counted.
func (f *face) capture(r *genl.Request) error {
	var q ipoibnl.Capture
	if err := ipoibnl.UnmarshalAttrs(r.Attrs, &q); err != nil {
		return err
	}
	end, err := f.endOf(r, q.Port, q.Ifname)
	if err != nil {
		return err
	}
	s := r.Stream()
	var lost atomic.Uint32
	cancel, err := f.Fabric.Tap(end, func(fr soft.Frame) {
		d := ipoibnl.CaptureData{
			TimeNS: uint64(fr.Time.UnixNano()), Out: fr.Dir == soft.DirOut, Frame: fr.Data, Dropped: lost.Load(),
		}
		ok := s.Send(ipoibnl.CmdCapture, func(e *nl.Encoder) error { ipoibnl.Marshal(e, d); return nil })
		if !ok {
			lost.Add(1)
		}
	})
	if err != nil {
		return err
	}
	go func() {
		<-s.Released()
		cancel()
	}()
	return nil
}

// fault makes the fabric misbehave.
func (f *face) fault(r *genl.Request) error {
	var q ipoibnl.Fault
	if err := ipoibnl.UnmarshalAttrs(r.Attrs, &q); err != nil {
		return err
	}
	switch q.What {
	case "link":
		return f.linkFault(r, &q)
	case "sm":
		return f.smFault(r, &q)
	}
	return nl.Errorf(syscall.EINVAL, "%q is neither link nor sm", q.What)
}

func (f *face) smFault(r *genl.Request, q *ipoibnl.Fault) error {
	switch q.Action {
	case "pause":
		f.SM.Pause(true)
	case "resume":
		f.SM.Pause(false)
	case "restart":
		f.SM.Restart()
	case "sweep":
		f.SM.Sweep()
	case "reload":
		return f.Service.ReloadPartitions()
	case "lid":
		return f.setLID(r, q)
	default:
		return nl.Errorf(syscall.EINVAL, "%q is not pause, resume, restart, sweep, reload or lid", q.Action)
	}
	return nil
}

// setLID makes the manager give a port of an adapter another LID.
func (f *face) setLID(r *genl.Request, q *ipoibnl.Fault) error {
	end, err := f.endOf(r, q.Port, q.Ifname)
	if err != nil {
		return err
	}
	switch err := f.SM.SetLID(end.GUID(), rdma.LID(q.LID)); {
	case errors.Is(err, rdma.ErrInUse):
		return nl.Errorf(syscall.EADDRINUSE, "another port has LID %v", rdma.LID(q.LID))
	case err != nil:
		return nl.Errorf(syscall.EINVAL, "%v is no unicast LID", rdma.LID(q.LID))
	}
	return nil
}

func (f *face) linkFault(r *genl.Request, q *ipoibnl.Fault) error {
	end, err := f.endOf(r, q.Port, q.Ifname)
	if err != nil {
		return err
	}
	l := f.Fabric.LinkAt(end)
	if l == nil {
		return nl.Errorf(syscall.ENOTCONN, "the port has no link")
	}
	switch q.Action {
	case "up", "down":
		l.SetUp(q.Action == "up")
	case "set":
		const million = 1e6
		for _, v := range []uint32{q.LossPPM, q.DuplicatePPM, q.CorruptPPM, q.ReorderPPM} {
			if v > million {
				return nl.Errorf(syscall.EINVAL, "a probability above 100 %%")
			}
		}
		l.SetFaults(soft.Faults{
			Loss: float64(q.LossPPM) / million, Duplicate: float64(q.DuplicatePPM) / million,
			Corrupt: float64(q.CorruptPPM) / million, Reorder: float64(q.ReorderPPM) / million,
			Delay: time.Duration(q.DelayUS) * time.Microsecond, RateMbps: int(q.RateMbps),
		})
	default:
		return nl.Errorf(syscall.EINVAL, "%q is not up, down or set", q.Action)
	}
	return nil
}
