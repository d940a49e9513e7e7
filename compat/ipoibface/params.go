package ipoibface

import (
	"strconv"
	"sync/atomic"
	"syscall"

	"ipoib/datapath"
	"ipoib/nl"
	"ipoib/nl/genl"
	"ipoib/nl/ipoibnl"
)

func (f *face) paramDump(*genl.Request) (*genl.Dump, error) {
	var out []ipoibnl.Param
	for _, p := range f.Params.List() {
		out = append(out, ipoibnl.Param{Name: p.Name, Value: strconv.Itoa(p.Value), Writable: p.Writable})
	}
	return list(ipoibnl.CmdParamGet, out), nil
}

// paramSet writes a parameter as its file would take it.
func (f *face) paramSet(r *genl.Request) error {
	var q ipoibnl.Param
	if err := ipoibnl.UnmarshalAttrs(r.Attrs, &q); err != nil {
		return err
	}
	p, ok := f.Params.Get(q.Name)
	switch {
	case !ok:
		return nl.Errorf(syscall.ENOENT, "no parameter %q", q.Name)
	case !p.Writable:
		return nl.Errorf(syscall.EACCES, "%s is fixed at start (ipoib serve --param %s=N)", q.Name, q.Name)
	}
	if err := f.Params.Store(q.Name, []byte(q.Value)); err != nil {
		return nl.Errorf(datapath.Errno(err), "%q is not a number of 32 bits", q.Value)
	}
	return nil
}

// log sends the log to the client until it leaves. Lines that it does not read
// in time are lost and counted.
func (f *face) log(r *genl.Request) error {
	var q ipoibnl.LogFollow
	if err := ipoibnl.UnmarshalAttrs(r.Attrs, &q); err != nil {
		return err
	}
	if f.FollowLog == nil {
		return nl.Errorf(syscall.EOPNOTSUPP, "the service keeps no log")
	}
	s := r.Stream()
	var lost atomic.Uint32
	send := func(l ipoibnl.LogLine) {
		l.Lost = lost.Load()
		if !s.Send(ipoibnl.CmdLog, func(e *nl.Encoder) error { ipoibnl.Marshal(e, l); return nil }) {
			lost.Add(1)
		}
	}
	cancel := f.FollowLog(int(q.Lines), send)
	if q.End {
		cancel()
		send(ipoibnl.LogLine{Last: true})
		return nil
	}
	go func() {
		<-s.Released()
		cancel()
	}()
	return nil
}
