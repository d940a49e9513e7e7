package service

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"ipoib/datapath"
	"ipoib/datapath/hostnet"
	"ipoib/nl"
	"ipoib/nl/ipoibnl"
	"ipoib/rdma"
	"ipoib/rdma/soft"
)

// The methods here are the service's part of the netlink family "ipoib"
// (ipoibface.Service).

// Version is the version of the program, set by main.
var Version = "devel"

// Info describes the service.
func (s *Service) Info() ipoibnl.Service {
	return ipoibnl.Service{
		Version: Version, PID: uint32(os.Getpid()), Started: uint64(s.started.Unix()), RunDir: s.cfg.RunDir,
		Interfaces: uint32(len(s.driver.Interfaces(hostnet.ID{}))), Fabric: "embedded",
	}
}

// Stop ends the service; with teardown nothing stays behind.
func (s *Service) Stop(teardown bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.teardown = s.teardown || teardown
	if s.stop != nil {
		s.stop()
	}
}

// Adapters lists the channel adapters with their parent interfaces.
func (s *Service) Adapters() []ipoibnl.HCA {
	s.mu.Lock()
	list := slices.Clone(s.hcas)
	s.mu.Unlock()
	ifaces := s.driver.Interfaces(hostnet.ID{})
	var out []ipoibnl.HCA
	for _, a := range list {
		h := ipoibnl.HCA{
			Name: a.Name, NodeGUID: uint64(a.dev.NodeGUID()), Ports: uint8(a.Ports), Desc: a.Desc,
			MTU: uint32(a.MTU), Speed: a.Speed, Width: a.Width, Profile: a.Profile, NetNS: a.NetNS, Owner: a.Owner,
		}
		for _, i := range ifaces {
			if info := i.Info(); i.Parent() == nil && info.Device == a.Name {
				h.Ifnames = append(h.Ifnames, info.Name)
			}
		}
		out = append(out, h)
	}
	return out
}

// AddAdapter adds a channel adapter at run time.
func (s *Service) AddAdapter(r ipoibnl.HCA) error {
	h := HCA{
		Name: r.Name, Ports: int(r.Ports), Desc: r.Desc, MTU: int(r.MTU), Speed: r.Speed, Width: r.Width,
		Profile: r.Profile, NetNS: r.NetNS, Owner: r.Owner, Dynamic: true,
	}
	if r.NodeGUID != 0 {
		h.GUID = rdma.GUID(r.NodeGUID).String()
	}
	if r.Ifname != "" {
		h.Ifnames = []string{r.Ifname}
	}
	if _, ok := s.fabric.HCA(h.Name); ok {
		return nl.Errorf(syscall.EEXIST, "adapter %s exists already", h.Name)
	}
	if err := h.normalize(); err != nil {
		return nl.Errorf(syscall.EINVAL, "%v", err)
	}
	if err := s.addAdapter(h, nil); err != nil {
		return nl.Errorf(datapath.Errno(err), "%v", err)
	}
	s.saveState()
	return nil
}

// RemoveAdapter removes an adapter that was added at run time, with its
// interfaces.
func (s *Service) RemoveAdapter(name string) error {
	s.mu.Lock()
	at := slices.IndexFunc(s.hcas, func(a *adapter) bool { return a.Name == name })
	if at < 0 {
		s.mu.Unlock()
		return nl.Errorf(syscall.ENODEV, "no adapter %s", name)
	}
	a := s.hcas[at]
	if !a.Dynamic {
		s.mu.Unlock()
		return nl.Errorf(syscall.EBUSY, "adapter %s belongs to the configuration", name)
	}
	s.hcas = slices.Delete(s.hcas, at, at+1)
	s.mu.Unlock()
	s.closeAdapter(a, false)
	s.saveState()
	return nil
}

// ReloadPartitions reads the partition file again.
func (s *Service) ReloadPartitions() error {
	if s.cfg.Partitions == "" {
		return nl.Errorf(syscall.EINVAL, "the service has no partition file: membership is open")
	}
	p, err := loadPartitions(s.cfg.Partitions)
	if err != nil {
		return nl.Errorf(syscall.EINVAL, "%v", err)
	}
	s.sm.SetPartitions(p)
	s.log.Info("partitions read again", "file", s.cfg.Partitions)
	return nil
}

// Port returns the fabric port that a name means: "soft0/1" of an adapter,
// "switch0/5" of a switch.
func (s *Service) Port(name string) (soft.End, error) {
	dev, num, ok := strings.Cut(name, "/")
	n, err := strconv.Atoi(num)
	if !ok || err != nil || n < 1 {
		return soft.End{}, nl.Errorf(syscall.EINVAL, "%q is not a port, such as soft0/1 or switch0/1", name)
	}
	if h, ok := s.fabric.HCA(dev); ok && n <= h.Attr().PortCount {
		return h.At(n), nil
	}
	if text, ok := strings.CutPrefix(dev, "switch"); ok {
		if k, err := strconv.Atoi(text); err == nil {
			if sw, ok := s.fabric.switchAt(k); ok && n <= sw.NumPorts() {
				return sw.At(n), nil
			}
		}
	}
	return soft.End{}, nl.Errorf(syscall.ENODEV, "no port %s in the fabric", name)
}
