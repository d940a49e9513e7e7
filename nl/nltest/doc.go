// Package nltest is a client and a server of package nl in one process,
// without a socket: for tests of handlers.
//
//	srv := nltest.NewServer(t, nl.Config{})
//	reg := genl.New(srv)
//	...
//	peer := nltest.NewPeer()
//	peer.SetCaps(nl.CapNetAdmin)
//	c := nltest.Dial(t, srv, peer, nl.ConnConfig{Protocol: nl.ProtoGeneric, ExtAck: true})
//
// Everything works inside a bubble of testing/synctest.
package nltest
