package upstream

import (
	"ipoib/nl"
	"ipoib/nl/rtlink"
)

// Subscribe calls fn with each datagram of events until the connection to the
// service ends or stop is called; ended is closed then. With ProtoRoute they
// are about links, with ProtoGeneric of ethtool's monitor group.
func (w *World) Subscribe(proto int, fn func([]byte)) (stop func(), ended <-chan struct{}, err error) {
	var group uint32 = rtlink.Group
	if proto == nl.ProtoGeneric {
		f, err := w.Ethtool()
		if err != nil {
			return nil, nil, err
		}
		group = f.Monitor
	}
	conn, err := w.dial(key{proto: proto}, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := conn.JoinGroup(group); err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = conn.Close() }()
		for {
			d, err := conn.ReadDatagram()
			switch {
			case err == nil:
				fn(d.Bytes)
			case isOverrun(err):
			default:
				return
			}
		}
	}()
	return func() { _ = conn.Close() }, done, nil
}
