package ethtoolsrv_test

import (
	"encoding/binary"
	"fmt"
	"sync"
	"syscall"
	"testing"

	"ipoib/datapath"
	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// FuzzRequest: whatever the attributes of a request, it is answered in order,
// by a reply or by an errno, and only a privileged change changes anything.
func FuzzRequest(f *testing.F) {
	for _, k := range kernelCases() {
		b := encode(0, k.cmd, 0, 0, k.fill)
		f.Add(k.cmd, false, b[nl.HeaderLen+4:])
	}
	f.Add(uint8(ethnl.CmdFeaturesSet), false, encode(0, 0, 0, 0, setFeature(1, false, "rx-gro"))[20:])
	f.Add(uint8(ethnl.CmdCoalesceSet), true, encode(0, 0, 0, 0, setCoalesce(2, 9, 3, 65535))[20:])
	h := newHost(f, "ib0")
	admin, user := dial(f, h, true), dial(f, h, false)
	i := h.Interface(f, "ib0")
	f.Fuzz(func(t *testing.T, cmd uint8, dumped bool, attrs []byte) {
		if len(attrs) > 4096 {
			return
		}
		flags := uint16(request | ack)
		if dumped {
			flags = request | dump
		}
		for _, c := range []*conn{user, admin} {
			c.tb = t
			before := i.Info()
			req := encode(c.family, cmd, flags, 5, func(e *nl.Encoder) { e.Raw(attrs) })
			binary.NativeEndian.PutUint32(req, uint32(20+len(attrs)))
			req = req[:20+len(attrs)]
			if err := c.c.WriteDatagram(req); err != nil {
				t.Fatal(err)
			}
			for end := false; !end; {
				for _, m := range c.read() {
					if m.seq != 5 {
						t.Fatalf("sequence %d", m.seq)
					}
					end = end || m.typ == 2 || m.typ == 3
				}
			}
			after := i.Info()
			if c == user && before != after {
				t.Fatalf("changed without privilege: %+v to %+v", before, after)
			}
			if before.Features != after.Features && cmd != ethnl.CmdFeaturesSet || before.Coalesce != after.Coalesce && cmd != ethnl.CmdCoalesceSet {
				t.Fatalf("command %d changed %+v to %+v", cmd, before, after)
			}
			if after.Coalesce.RxUsecs > 65535 || after.Coalesce.RxFrames > 65535 {
				t.Fatalf("out of range: %+v", after.Coalesce)
			}
		}
	})
}

// TestConcurrentClients: many clients change and read at once; what they read
// is always whole, and in the end netlink and datapath agree.
func TestConcurrentClients(t *testing.T) {
	h := newHost(t, "ib0")
	i := h.Interface(t, "ib0")
	if err := i.SetFeatures(0, datapath.FeatureGRO.Set(), nil); err != nil { // equal from the start
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	errs := make(chan error, 100)
	watch := dial(t, h, false)
	for n := range 50 {
		c := dial(t, h, n%2 == 0)
		wg.Go(func() {
			for k := range uint32(40) {
				if n%2 == 0 {
					// Both values are always the same number.
					v := (k*50 + uint32(n)) % 65536
					if _, m := c.do(ethnl.CmdCoalesceSet, setCoalesce(2, v, 3, v)); m.errno != 0 {
						errs <- m.errno
					}
					if _, m := c.do(ethnl.CmdFeaturesSet, setFeature(0, k%2 == 0, "rx-gro", "rx-lro")); m.errno != 0 {
						errs <- m.errno
					}
				}
				m := c.get(ethnl.CmdCoalesceGet, "ib0", 0)
				if u, f := attr(t, m, 2).Uint32(), attr(t, m, 3).Uint32(); u != f {
					errs <- fmt.Errorf("rx-usecs %d, rx-frames %d", u, f)
				}
				m = c.get(ethnl.CmdFeaturesGet, "ib0", ethnl.FlagCompactBitsets)
				v := ethnl.ViewBitset(attr(t, m, ethnl.FeaturesActive)).Value
				if gro, lro := v.Test(int(datapath.FeatureGRO)), v.Test(int(datapath.FeatureLRO)); gro != lro {
					errs <- fmt.Errorf("gro %v, lro %v", gro, lro)
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
		break
	}
	m := watch.get(ethnl.CmdCoalesceGet, "ib0", 0)
	if got := i.Info().Coalesce; attr(t, m, 2).Uint32() != got.RxUsecs || attr(t, m, 3).Uint32() != got.RxFrames {
		t.Errorf("netlink says %x, datapath %+v", m.Data, got)
	}
}

// TestVanished: a client that goes away in the middle leaves the service as
// it was for the others.
func TestVanished(t *testing.T) {
	h := newHost(t, "ib0")
	for n := range 50 {
		c := dial(t, h, true)
		c.send(ethnl.CmdFeaturesSet, request|ack, setFeature(0, n%2 == 0, "rx-gro"))
		c.send(ethnl.CmdStrsetGet, request|dump, func(*nl.Encoder) {})
		_ = c.c.Close()
	}
	c := dial(t, h, true)
	if _, end := c.do(ethnl.CmdCoalesceSet, setCoalesce(2, 3)); end.errno != 0 {
		t.Error(end.errno)
	}
	i := h.Interface(t, "ib0")
	h.Driver.Close(false)
	if _, end := c.do(ethnl.CmdCoalesceGet, named(i.Name())); end.errno != syscall.ENODEV {
		t.Errorf("a removed interface: %v", end.errno)
	}
}

// TestClose: the family disappears with its server.
func TestClose(t *testing.T) {
	h := newHost(t, "ib0")
	c := dial(t, h, true)
	if err := h.Family.Close(); err != nil {
		t.Fatal(err)
	}
	if _, end := c.do(ethnl.CmdCoalesceGet, named("ib0")); end.errno != syscall.ENOENT {
		t.Errorf("after Close: %v", end.errno)
	}
	usecs := uint32(3)
	if err := h.Interface(t, "ib0").SetCoalesce(&usecs, nil); err != nil {
		t.Error(err)
	}
}
