// Package mad encodes and decodes InfiniBand management datagrams and runs
// transactions with them.
//
// A datagram is always rdma.MADSize bytes. MAD is a view on such an array with
// accessors for the common header and for the headers that follow it in
// subnet management (SMP), subnet administration (SA, with RMPP), performance
// management (PMA) and communication management (CM) datagrams. The attributes
// that they carry are structs: Unmarshal reads the wire form and returns
// ErrShort when there are too few bytes, Marshal writes it, reserved bits as
// zero, into a buffer of at least Len bytes. Values that do not fit their
// field are cut to its width.
//
//	m := mad.New(mad.ClassSA, mad.MethodGet, mad.AttrPathRecord)
//	m.SetComponentMask(mad.PRDGID | mad.PRSGID | mad.PRPKey | mad.PRNumbPath)
//	m.SetAttr(&mad.PathRecord{DGID: d, SGID: s, PKey: p, NumbPath: 1})
//	resp, err := client.Do(ctx, to, m.Bytes(), mad.Options{})
//
// Client sends requests over a rdma.MADAgent, repeats them, matches the
// responses and reassembles RMPP tables. TableServer sends RMPP tables and is
// the other end of it. RMPPSender and RMPPReceiver are the state machines of
// IBA 13.6 underneath.
//
// The layouts are those of the IBA volume 1, chapters 12 to 16, as public
// code has them (OpenSM, rdma-core, the kernel); all multi-byte fields are
// big-endian. Chapter and table numbers in the comments are of release 1.2.1
// and later.
package mad
