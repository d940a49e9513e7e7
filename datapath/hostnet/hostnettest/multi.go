package hostnettest

// SetAllMulti sets the all-multicast flag of a link, as a multicast router
// does.
func (n *Namespace) SetAllMulti(ifindex int, on bool) error {
	return n.onLink("set allmulti", ifindex, func(_ *space, l *link) error {
		l.AllMulti = on
		return nil
	})
}
