package nl

// Unicast sends datagrams to one client outside of its requests, as a kernel
// module does with nlmsg_unicast and a port id, until the client is gone.
type Unicast struct{ c *client }

// Unicast returns the way to the requester that stays when the request is
// over.
func (r *Request) Unicast() *Unicast { return &Unicast{r.c} }

// Send queues a datagram of whole messages. It reports false when there was no
// room, which the client is told with ENOBUFS, or when the client is gone. It
// never blocks. b must not change any more.
func (u *Unicast) Send(b []byte) bool { return u.c.send(b) }

// PortID is the port id of the client.
func (u *Unicast) PortID() uint32 { return u.c.port }

// Released is closed when the client is gone (NETLINK_URELEASE).
func (u *Unicast) Released() <-chan struct{} { return u.c.released }
