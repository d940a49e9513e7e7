package service

import (
	"context"
	"slices"
	"time"

	"ipoib/datapath"
)

// namespaceInterval is how often the namespaces are looked at: what a deleted
// one held is gone within twice that.
const namespaceInterval = 2 * time.Second

// releaseNamespaces lets go of network namespaces whose last user is gone.
func (s *Service) releaseNamespaces(ctx context.Context) {
	t := time.NewTicker(namespaceInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		for _, i := range s.driver.ReleaseAbandoned() {
			s.comeHome(i)
		}
	}
}

// comeHome finds a place for the interface of a port whose namespace is gone.
// An adapter that was made for that namespace goes with it.
func (s *Service) comeHome(i *datapath.Interface) {
	info := i.Info()
	log := s.log.With("ifname", info.Name)
	s.mu.Lock()
	at := slices.IndexFunc(s.hcas, func(a *adapter) bool { return a.Name == info.Device })
	own := at >= 0 && s.hcas[at].Dynamic && s.hcas[at].NetNS != ""
	s.mu.Unlock()
	if own {
		log.Info("the network namespace is gone, and its adapter with it", "dev", info.Device)
		if err := s.RemoveAdapter(info.Device); err != nil {
			log.Warn("cannot remove the adapter", "dev", info.Device, "err", err)
		}
		return
	}
	log.Info("the network namespace is gone, the interface returns to that of the service")
	if err := i.ComeHome(); err != nil {
		log.Warn("cannot return the interface", "err", err)
	}
}
