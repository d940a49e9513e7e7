package upstream

import (
	"errors"
	"maps"
	"syscall"

	"github.com/mdlayher/netlink"

	"ipoib/compat/redirect/wire"
	"ipoib/nl"
	"ipoib/nl/rtlink"
)

// linkRequest builds an RTM_GETLINK.
func linkRequest(flags netlink.HeaderFlags, index int32, name string) []byte {
	var e nl.Encoder
	_ = e.Message(netlink.Header{Type: rtlink.GetLink, Flags: netlink.Request | flags, Sequence: 1},
		func(e *nl.Encoder) error {
			rtlink.AppendHeader(e, 0, 0, index, 0, 0)
			e.U32(rtlink.AttrExtMask, rtlink.FilterVF)
			switch {
			case name == "":
			case len(name) <= rtlink.MaxName:
				e.String(rtlink.AttrIfname, name)
			default:
				e.String(rtlink.AttrAltIfname, name)
			}
			return nil
		})
	return e.Bytes()
}

// ask returns the messages of an answer, and the errno that it has instead.
func (w *World) ask(proto int, opts Options, msg []byte) (out []wire.Message, err error) {
	ds, err := w.Exchange(proto, opts, msg)
	if err != nil {
		return nil, err
	}
	for _, d := range ds {
		for _, m := range wire.Split(d) {
			if m.Type >= nl.MinType {
				out = append(out, m)
				continue
			}
			if n := m.Errno(); n != 0 {
				return out, syscall.Errno(n)
			}
		}
	}
	return out, nil
}

// find asks for a link by index or name; 0 is none of the service's. The only
// error is ErrNoAnswer.
func (w *World) find(index int32, name string) (int32, []byte, error) {
	ms, err := w.ask(nl.ProtoRoute, Options{}, linkRequest(0, index, name))
	if errors.Is(err, ErrNoAnswer) {
		return 0, nil, ErrNoAnswer
	}
	if err != nil || len(ms) == 0 || len(ms[0].Payload()) < rtlink.HeaderLen {
		return 0, nil, nil
	}
	body := ms[0].Payload()
	i := int32(native.Uint32(body[4:]))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last[i] = body
	delete(w.others, i)
	return i, body, nil
}

// Link implements wire.View. Of a service that does not answer it is what was
// last known.
func (w *World) Link(index int32) []byte {
	_, body, err := w.find(index, "")
	if err != nil {
		return w.Gone(index)
	}
	return body
}

// Gone implements wire.View.
func (w *World) Gone(index int32) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last[index]
}

// Remember notes what the service said of a link, for Gone.
func (w *World) Remember(index int32, body []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last[index] = body
}

// Other reports whether a link is known not to be the service's, and notes
// that it is not.
func (w *World) Other(index int32) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	known := w.others[index]
	if len(w.others) > 4096 {
		clear(w.others)
	}
	w.others[index] = true
	return known
}

// Resolve returns the index of the service's link that a subject names, 0 if
// that is none of them. The only error is ErrNoAnswer.
func (w *World) Resolve(index int32, name string) (int32, error) {
	switch {
	case index > 0:
		name = ""
	case index < 0 || name == "":
		return 0, nil
	}
	index, _, err := w.find(index, name)
	return index, err
}

// Links returns the service's links with what it says of them. Their order is
// that of the dump.
func (w *World) Links() (out []wire.Item, err error) {
	return w.linkItems(Options{}, linkRequest(netlink.Dump, 0, ""))
}

// linkItems sends a dump request for links.
func (w *World) linkItems(opts Options, msg []byte) (out []wire.Item, err error) {
	ms, err := w.ask(nl.ProtoRoute, opts, msg)
	last := make(map[int32][]byte)
	for _, m := range ms {
		if body := m.Payload(); m.Type == rtlink.NewLink && len(body) >= rtlink.HeaderLen {
			index := int32(native.Uint32(body[4:]))
			last[index] = body
			out = append(out, wire.Item{Index: index, Type: m.Type, Body: body})
		}
	}
	w.mu.Lock()
	maps.Copy(w.last, last)
	w.mu.Unlock()
	return out, err
}

// LinkDump returns what the service adds to the kernel's answer to a dump
// request for links.
func (w *World) LinkDump(opts Options, m *wire.Message) (*wire.Dump, error) {
	items, err := w.Links()
	if err != nil || len(items) == 0 {
		return nil, err
	}
	d := &wire.Dump{Ours: ours(items), Items: items}
	switch kind := wire.DumpKind(m); {
	case kind != "" && kind != rtlink.KindIPoIB:
		// The service does not know other kinds, and takes them for no filter.
		d.Items = nil
	case !wire.Plain(m):
		// A filter is the service's to apply. What it refuses the kernel
		// refuses as well.
		d.Items, _ = w.linkItems(opts, m.Raw)
	}
	return d, nil
}

func ours(items []wire.Item) map[int32]bool {
	out := make(map[int32]bool, len(items))
	for _, it := range items {
		out[it.Index] = true
	}
	return out
}
