package upstream

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ipoib/compat/redirect/wire"
	"ipoib/nl"
	"ipoib/nl/ethnl"
	"ipoib/nl/ipoibnl"
)

// Family is a generic netlink family.
type Family struct {
	ID netlink.HeaderType
	// Monitor is the id of its group "monitor", 0 if there is none.
	Monitor uint32
}

// The controller (uapi/linux/genetlink.h).
const (
	ctrlID        = 16
	cmdGetFamily  = 3
	attrFamilyID  = 1
	attrName      = 2
	attrGroups    = 7
	attrGroupName = 1
	attrGroupID   = 2
)

func familyRequest(name string) []byte {
	return genlRequest(ctrlID, netlink.Request, cmdGetFamily, func(e *nl.Encoder) { e.String(attrName, name) })
}

// genlRequest builds a request of generic netlink.
func genlRequest(id netlink.HeaderType, flags netlink.HeaderFlags, cmd uint8, fill func(*nl.Encoder)) []byte {
	var e nl.Encoder
	_ = e.Message(netlink.Header{Type: id, Flags: netlink.Request | flags, Sequence: 1}, func(e *nl.Encoder) error {
		e.Raw([]byte{cmd, 1, 0, 0})
		fill(e)
		return nil
	})
	return e.Bytes()
}

func parseFamily(m *wire.Message) (f Family, err error) {
	p := m.Payload()
	if len(p) < 4 {
		return f, errors.New("upstream: short answer of the controller")
	}
	for a := range (nl.Attr{Data: p[4:]}).Children() {
		switch a.Type {
		case attrFamilyID:
			f.ID = netlink.HeaderType(a.Uint16())
		case attrGroups:
			for g := range a.Children() {
				var name string
				var id uint32
				for c := range g.Children() {
					switch c.Type {
					case attrGroupName:
						name = c.String()
					case attrGroupID:
						id = c.Uint32()
					}
				}
				if name == ethnl.GroupMonitor {
					f.Monitor = id
				}
			}
		}
	}
	return f, nil
}

// family returns a family of the service.
func (w *World) family(name string) (Family, error) {
	w.mu.Lock()
	f, ok := w.families[name]
	w.mu.Unlock()
	if ok {
		return f, nil
	}
	ms, err := w.ask(nl.ProtoGeneric, Options{}, familyRequest(name))
	if err != nil {
		return f, err
	}
	if len(ms) == 0 {
		return f, fmt.Errorf("upstream: the service has no family %s", name)
	}
	if f, err = parseFamily(&ms[0]); err == nil {
		w.mu.Lock()
		w.families[name] = f
		w.mu.Unlock()
	}
	return f, err
}

// Ethtool returns the service's ethtool family.
func (w *World) Ethtool() (Family, error) { return w.family(ethnl.Name) }

// Kernel returns the kernel's ethtool family; its id is 0 when the kernel has
// none.
func (c *Client) Kernel() Family {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kernel.ID == 0 {
		c.kernel, _ = kernelFamily(ethnl.Name)
	}
	return c.kernel
}

func kernelFamily(name string) (f Family, err error) {
	ms, err := askKernel(familyRequest(name))
	for _, m := range ms {
		if m.Type == ctrlID {
			return parseFamily(&m)
		}
	}
	return f, errors.Join(err, syscall.ENOENT)
}

// askKernel sends a request of generic netlink to the kernel and returns the
// first datagram of the answer.
func askKernel(req []byte) ([]wire.Message, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Sendto(fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto", err)
	}
	b := make([]byte, 64<<10)
	n, _, err := unix.Recvfrom(fd, b, 0)
	if err != nil {
		return nil, os.NewSyscallError("recvfrom", err)
	}
	return wire.Split(b[:n]), nil
}

// kernelFeatures is the kernel's table of features.
func (c *Client) kernelFeatures() []string {
	f := c.Kernel()
	if f.ID == 0 {
		return nil
	}
	ms, err := askKernel(genlRequest(f.ID, 0, ethnl.CmdStrsetGet, askFeatureNames))
	if err != nil {
		return nil
	}
	var bodies [][]byte
	for _, m := range ms {
		if p := m.Payload(); m.Type == f.ID && len(p) >= 4 {
			bodies = append(bodies, p[4:])
		}
	}
	return featureNames(bodies)
}

// layouts are the translations between the tables of features.
type layouts struct{ toKernel, toService *wire.Layout }

// featureNames reads the names of the features from an answer to STRSET_GET.
func featureNames(bodies [][]byte) []string {
	for _, b := range bodies {
		for a := range (nl.Attr{Data: b}).Children() {
			if a.Type != ethnl.StrsetStringSets {
				continue
			}
			for set := range a.Children() {
				if s, ok := ethnl.ViewStringSet(set); ok && s.ID == ethnl.SetFeatures {
					return s.Strings
				}
			}
		}
	}
	return nil
}

func askFeatureNames(e *nl.Encoder) {
	ethnl.AppendRequestHeader(e, ethnl.StrsetHeader, "", 0)
	e.Nest(ethnl.StrsetStringSets, func() {
		e.Nest(ethnl.StringSetsStringSet, func() { e.U32(ethnl.StringSetID, ethnl.SetFeatures) })
	})
}

// layouts returns the translations, which do nothing when one of the tables
// cannot be read.
func (w *World) layouts() layouts {
	w.mu.Lock()
	have := w.features
	w.mu.Unlock()
	if have != nil {
		return *have
	}
	have = new(layouts)
	bodies, err := w.Ethnl(Options{}, 0, ethnl.CmdStrsetGet, askFeatureNames)
	service, kernel := featureNames(bodies), w.client.kernelFeatures()
	if err == nil && service != nil && kernel != nil {
		have.toKernel, have.toService = wire.NewLayout(service, kernel), wire.NewLayout(kernel, service)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.features = have
	return *have
}

// ToKernel translates sets of features from the service's table to the
// kernel's, ToService from the kernel's to the service's; nil does nothing.
func (w *World) ToKernel() *wire.Layout { return w.layouts().toKernel }

// ToService is the other direction of ToKernel.
func (w *World) ToService() *wire.Layout { return w.layouts().toService }

// EthtoolDump returns what the service adds to the kernel's answer to a dump
// request of the ethtool family; kernel is the kernel's id of it.
func (w *World) EthtoolDump(opts Options, m *wire.Message, kernel netlink.HeaderType) (*wire.Dump, error) {
	links, err := w.Links()
	if err != nil || len(links) == 0 {
		return nil, err
	}
	f, err := w.Ethtool()
	if err != nil {
		return nil, err
	}
	raw := append([]byte(nil), m.Raw...)
	wire.SetType(raw, f.ID)
	d := &wire.Dump{Ours: ours(links)}
	// What the service refuses the kernel refuses as well.
	ms, _ := w.ask(nl.ProtoGeneric, opts, raw)
	for _, a := range ms {
		if a.Type == f.ID {
			body := w.ToKernel().Reply(a.Payload())
			d.Items = append(d.Items, wire.Item{Index: wire.ReplyDevice(&a), Type: kernel, Body: body})
		}
	}
	return d, nil
}

// Ethnl sends a request of the ethtool family and returns the bodies of the
// answer, behind the genlmsghdr. The error is the service's errno.
func (w *World) Ethnl(opts Options, flags netlink.HeaderFlags, cmd uint8, fill func(*nl.Encoder)) ([][]byte, error) {
	f, err := w.Ethtool()
	if err != nil {
		return nil, err
	}
	return w.generic(opts, f.ID, flags, cmd, fill)
}

func (w *World) generic(opts Options, id netlink.HeaderType, flags netlink.HeaderFlags, cmd uint8, fill func(*nl.Encoder)) (out [][]byte, err error) {
	ms, err := w.ask(nl.ProtoGeneric, opts, genlRequest(id, flags, cmd, fill))
	for _, m := range ms {
		if p := m.Payload(); m.Type == id && len(p) >= 4 {
			out = append(out, p[4:])
		}
	}
	return out, err
}

// ipoib sends a request of the family "ipoib".
func (w *World) ipoib(opts Options, flags netlink.HeaderFlags, cmd uint8, req any) ([][]byte, error) {
	f, err := w.family(ipoibnl.Name)
	if err != nil {
		return nil, err
	}
	return w.generic(opts, f.ID, flags, cmd, func(e *nl.Encoder) {
		if req != nil {
			ipoibnl.Marshal(e, req)
		}
	})
}

// Neighbours lists the neighbours of an interface, of all with index 0.
func (w *World) Neighbours(index int32) (out []ipoibnl.Neigh, err error) {
	bodies, err := w.ipoib(Options{}, netlink.Dump, ipoibnl.CmdNeighGet, ipoibnl.Filter{Ifindex: uint32(index)})
	for _, b := range bodies {
		var n ipoibnl.Neigh
		if err := ipoibnl.Unmarshal(b, &n); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, err
}

// SetNeighbour adds or changes a neighbour; DeleteNeighbour removes it.
func (w *World) SetNeighbour(opts Options, n ipoibnl.Neigh) error {
	_, err := w.ipoib(opts, netlink.Acknowledge, ipoibnl.CmdNeighSet, n)
	return err
}

// DeleteNeighbour removes a neighbour.
func (w *World) DeleteNeighbour(opts Options, n ipoibnl.Neigh) error {
	_, err := w.ipoib(opts, netlink.Acknowledge, ipoibnl.CmdNeighDel, n)
	return err
}

// Legacy sends a request that ethtool makes by ioctl.
func (w *World) Legacy(opts Options, name string, cmd uint32) (r ipoibnl.EthtoolReply, err error) {
	bodies, err := w.ipoib(opts, 0, ipoibnl.CmdEthtool, ipoibnl.EthtoolRequest{Ifname: name, Cmd: cmd})
	if err != nil || len(bodies) == 0 {
		return r, err
	}
	return r, ipoibnl.Unmarshal(bodies[0], &r)
}
