package datapath_test

import (
	"errors"
	"syscall"
	"testing"

	"ipoib/datapath"
	"ipoib/datapath/hostnet/hostnettest"
	"ipoib/datapath/tun"
	"ipoib/rdma"
	"ipoib/rdma/mad"
	"ipoib/rdma/soft"
)

// mute is a subnet administration that never answers.
type mute struct{ datapath.SubnetAdmin }

func (mute) SubscribeGroups(func(rdma.GID, bool)) func()                  { return func() {} }
func (mute) ListGroups(func([]mad.MCMemberRecord, error)) (cancel func()) { return func() {} }
func (mute) IsMember(rdma.GID) bool                                       { return false }
func (mute) SendOnlyFullMember() bool                                     { return true }
func (mute) NoMulticast() bool                                            { return false }
func (mute) Close() error                                                 { return nil }
func (mute) Join(mad.MCMemberRecord, mad.ComponentMask, func(mad.MCMemberRecord, error)) func() {
	return func() {}
}

// settingsHost is a host with an adapter that nobody manages.
type settingsHost struct {
	tb   testing.TB
	host *hostnettest.Host
	drv  *datapath.Driver
	hca  *soft.HCA
}

func newSettingsHost(tb testing.TB, profile soft.Profile) *settingsHost {
	tb.Helper()
	h := &settingsHost{tb: tb, host: hostnettest.New(tb)}
	fabric := soft.NewFabric(soft.Options{Seed: 1})
	var err error
	h.hca, err = fabric.AddHCA(soft.HCAConfig{
		Name: "soft0", NodeGUID: 0x0002c90300a0b0c0, Desc: "test", Profile: profile,
	})
	if err != nil {
		tb.Fatal(err)
	}
	sw, err := fabric.AddSwitch(soft.SwitchConfig{NodeGUID: 0x0002c90300a0b0f0, Ports: 4})
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := fabric.Connect(h.hca.At(1), sw.At(1)); err != nil {
		tb.Fatal(err)
	}
	h.drv = datapath.New(datapath.System{
		Host: h.host, OpenTUN: h.host.OpenTUN,
		NewSubnetAdmin: func(rdma.Port, func()) (datapath.SubnetAdmin, error) { return mute{}, nil },
	}, datapath.Params{})
	tb.Cleanup(func() { h.drv.Close(false); _ = h.hca.Close() })
	return h
}

// add makes the parent interface, as it was before when restore is not nil.
func (h *settingsHost) add(restore *datapath.State) *datapath.Interface {
	h.tb.Helper()
	port, err := h.hca.Port(1)
	if err != nil {
		h.tb.Fatal(err)
	}
	i, err := h.drv.AddPort(datapath.PortConfig{Port: port, NS: h.host.Open(h.tb, ""), Name: "ib0", Restore: restore})
	if err != nil {
		h.tb.Fatal(err)
	}
	return i
}

// change asks for one feature and returns the names that the answer has in
// its two masks.
func change(tb testing.TB, i *datapath.Interface, on bool, fs ...datapath.Feature) datapath.FeatureResult {
	tb.Helper()
	var mask, value datapath.FeatureSet
	for _, f := range fs {
		mask |= f.Set()
	}
	if on {
		value = mask
	}
	var res datapath.FeatureResult
	called := false
	err := i.SetFeatures(value, mask, func(r datapath.FeatureResult) { res, called = r, true })
	if err != nil || !called {
		tb.Fatalf("SetFeatures(%v): %v, result called %v", fs, err, called)
	}
	return res
}

func set(fs ...datapath.Feature) datapath.FeatureSet {
	var s datapath.FeatureSet
	for _, f := range fs {
		s |= f.Set()
	}
	return s
}

const (
	csum, csum6   = datapath.FeatureIPCsum, datapath.FeatureIPv6Csum
	tso, tso6     = datapath.FeatureTSO, datapath.FeatureTSO6
	mangle, rx    = datapath.FeatureTSOMangleID, datapath.FeatureRXCsum
	gso, gro, lro = datapath.FeatureGSO, datapath.FeatureGRO, datapath.FeatureLRO
	sg            = datapath.FeatureSG
)

var (
	core  = set(datapath.FeatureNoCacheCopy, datapath.FeatureGROList, datapath.FeatureGROUDPFwd)
	fixed = set(sg, datapath.FeatureHighDMA, datapath.FeatureVLANChallenged)
)

// TestFeatures follows the transcript 09-ethtool-features of the kernel's
// driver; IPv6 and LRO are our own.
func TestFeatures(t *testing.T) {
	h := newSettingsHost(t, soft.ProfileFull)
	i := h.add(nil)
	want := datapath.Features{
		HW:     set(csum, csum6, rx, tso, tso6, mangle, gso, gro, lro) | core,
		Wanted: set(csum, csum6, rx, tso, tso6, gso, gro),
		Active: set(csum, csum6, rx, tso, tso6, gso, gro) | fixed,
	}
	if got := i.Info().Features; got != want {
		t.Fatalf("new interface: %+v, want %+v", got, want)
	}
	full := tun.FeatureCsum | tun.FeatureTSO4 | tun.FeatureTSO6 | tun.FeatureTSOECN
	steps := []struct {
		name            string
		on              bool
		fs              []datapath.Feature
		refused         datapath.FeatureSet
		changed, active datapath.FeatureSet
		tun             tun.Features
	}{
		{"lro on", true, []datapath.Feature{lro}, 0, set(lro), set(lro), full},
		{"lro off", false, []datapath.Feature{lro}, 0, set(lro), 0, full},
		{"gro off", false, []datapath.Feature{gro}, 0, set(gro), 0, full},
		{"gro on", true, []datapath.Feature{gro}, 0, set(gro), set(gro), full},
		{"mangleid on", true, []datapath.Feature{mangle}, 0, set(mangle), set(mangle), full},
		{"tso off", false, []datapath.Feature{tso}, 0, set(tso, mangle), 0, tun.FeatureCsum | tun.FeatureTSO6},
		{"tso on", true, []datapath.Feature{tso}, 0, set(tso, mangle), set(tso, mangle), full},
		{"ipv4 checksum off", false, []datapath.Feature{csum}, 0, set(csum, tso, mangle), 0, tun.FeatureCsum | tun.FeatureTSO6},
		{"ipv6 checksum off", false, []datapath.Feature{csum6}, 0, set(csum6, tso6), 0, 0},
		{"checksums on", true, []datapath.Feature{csum, csum6}, 0,
			set(csum, csum6, tso, tso6, mangle), set(csum, csum6, tso, tso6, mangle), full},
		{"sg off", false, []datapath.Feature{sg}, set(sg), 0, 0, full},
		{"highdma on", true, []datapath.Feature{datapath.FeatureHighDMA}, 0, 0, 0, full},
		{"rx-all on", true, []datapath.Feature{44}, set(44), 0, 0, full},
		{"rx-all off", false, []datapath.Feature{44}, 0, 0, 0, full},
	}
	for _, s := range steps {
		res := change(t, i, s.on, s.fs...)
		if res.WantedMask != s.refused || res.ActiveMask != s.changed || res.ActiveValue != s.active {
			t.Errorf("%s: %+v, want refused %x, changed %x to %x", s.name, res, s.refused, s.changed, s.active)
		}
		if want := s.refused; s.on && res.WantedValue != want || !s.on && res.WantedValue != 0 {
			t.Errorf("%s: requested value %x", s.name, res.WantedValue)
		}
		if got := h.host.TUN("ib0").Offload(); got != s.tun {
			t.Errorf("%s: TUN has %v, want %v", s.name, got, s.tun)
		}
	}
}

func TestFeaturesRefused(t *testing.T) {
	i := newSettingsHost(t, soft.ProfileFull).add(nil)
	before := i.Info()
	for _, f := range []datapath.Feature{datapath.FeatureVLANChallenged, datapath.FeatureLLTX, datapath.FeatureNetnsLocal} {
		err := i.SetFeatures(gro.Set()|f.Set(), gro.Set()|f.Set(), nil)
		var e *datapath.Error
		if !errors.As(err, &e) || e.Num != syscall.EINVAL || e.Ext != "attempt to change non-ethtool features" {
			t.Errorf("%v: %v", f, err)
		}
	}
	if i.Info() != before {
		t.Error("a refused request changed something")
	}
}

// TestFeaturesGeneric is an adapter like those of the transcripts: nothing for
// IPv6.
func TestFeaturesGeneric(t *testing.T) {
	i := newSettingsHost(t, soft.ProfileGeneric).add(nil)
	want := datapath.Features{
		HW:     set(csum, rx, tso, mangle, gso, gro, lro) | core,
		Wanted: set(csum, rx, tso, gso, gro),
		Active: set(csum, rx, tso, gso, gro) | fixed,
	}
	if got := i.Info().Features; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	res := change(t, i, true, csum6, tso6)
	if res.WantedMask != set(csum6, tso6) || res.ActiveMask != 0 {
		t.Errorf("IPv6 offloads: %+v", res)
	}
}

func TestFeaturesTold(t *testing.T) {
	h := newSettingsHost(t, soft.ProfileFull)
	i := h.add(nil)
	var order []string
	cancel := h.drv.Subscribe(func(c datapath.Change) {
		if c.Old.Features.Active != c.New.Features.Active {
			order = append(order, "told")
		}
	})
	defer cancel()
	for _, value := range []datapath.FeatureSet{gro.Set(), 0, 0} {
		if err := i.SetFeatures(value, gro.Set(), func(datapath.FeatureResult) { order = append(order, "result") }); err != nil {
			t.Fatal(err)
		}
	}
	if len(order) != 4 || order[0] != "result" || order[1] != "result" || order[2] != "told" || order[3] != "result" {
		t.Errorf("order %v: one change, told after its result", order)
	}
}

func TestCoalesce(t *testing.T) {
	h := newSettingsHost(t, soft.ProfileFull)
	i := h.add(nil)
	v := func(n uint32) *uint32 { return &n }
	told := 0
	defer h.drv.Subscribe(func(c datapath.Change) {
		if c.Old.Coalesce != c.New.Coalesce {
			told++
		}
	})()
	steps := []struct {
		usecs, frames *uint32
		want          datapath.Coalesce
		err           error
	}{
		{nil, nil, datapath.Coalesce{}, nil},
		{v(16), nil, datapath.Coalesce{RxUsecs: 16}, nil},
		{v(16), nil, datapath.Coalesce{RxUsecs: 16}, nil},
		{nil, v(44), datapath.Coalesce{RxUsecs: 16, RxFrames: 44}, nil},
		{v(65535), v(65535), datapath.Coalesce{RxUsecs: 65535, RxFrames: 65535}, nil},
		{v(65536), v(1), datapath.Coalesce{RxUsecs: 65535, RxFrames: 65535}, syscall.EINVAL},
		{v(1), v(65536), datapath.Coalesce{RxUsecs: 65535, RxFrames: 65535}, syscall.EINVAL},
		{nil, v(1<<32 - 1), datapath.Coalesce{RxUsecs: 65535, RxFrames: 65535}, syscall.EINVAL},
		{v(0), v(0), datapath.Coalesce{}, nil},
	}
	for k, s := range steps {
		if err := i.SetCoalesce(s.usecs, s.frames); !errors.Is(err, s.err) {
			t.Errorf("step %d: %v, want %v", k, err, s.err)
		}
		if got := i.Info().Coalesce; got != s.want {
			t.Errorf("step %d: %+v, want %+v", k, got, s.want)
		}
	}
	if told != 4 {
		t.Errorf("told of %d changes, want 4", told)
	}
}

func TestSettingsPersist(t *testing.T) {
	h := newSettingsHost(t, soft.ProfileFull)
	i := h.add(nil)
	if s := h.drv.States()[0]; s.Features != nil || s.RxUsecs != 0 || s.RxFrames != 0 {
		t.Errorf("state of a new interface: %+v", s)
	}
	change(t, i, true, lro)
	change(t, i, false, gro, tso)
	usecs, frames := uint32(7), uint32(9)
	if err := i.SetCoalesce(&usecs, &frames); err != nil {
		t.Fatal(err)
	}
	before, st := i.Info(), h.drv.States()[0]
	want := map[string]bool{"rx-lro": true, "rx-gro": false, "tx-tcp-segmentation": false}
	if len(st.Features) != len(want) {
		t.Fatalf("features %v, want %v", st.Features, want)
	}
	for k, v := range want {
		if got, ok := st.Features[k]; !ok || got != v {
			t.Errorf("%s: %v, want %v", k, got, v)
		}
	}
	h.drv.Close(true)
	again := h.add(&st).Info()
	if again.Features != before.Features || again.Coalesce != before.Coalesce {
		t.Errorf("restored %+v %+v, want %+v %+v", again.Features, again.Coalesce, before.Features, before.Coalesce)
	}
	if got, want := h.host.TUN("ib0").Offload(), tun.FeatureCsum|tun.FeatureTSO6; got != want {
		t.Errorf("restored TUN has %v, want %v", got, want)
	}
}

func TestLinkSettings(t *testing.T) {
	h := newSettingsHost(t, soft.ProfileFull)
	i := h.add(nil)
	off := datapath.LinkSettings{Speed: -1, Duplex: 0xff}
	if s, err := i.LinkSettings(); err != nil || s.Port != 0xff || s.PhyAddr != 0xff || !s.Autoneg || s.Duplex != 1 || s.Speed != 100000 {
		t.Errorf("never set up: %+v, %v", s, err)
	}
	if err := i.SetUp(true); err != nil {
		t.Fatal(err)
	}
	if s, err := i.LinkSettings(); err != nil || s != off {
		t.Errorf("up without carrier: %+v, %v", s, err)
	}
	if err := i.SetUp(false); err != nil {
		t.Fatal(err)
	}
	if s, err := i.LinkSettings(); err != nil || s != off {
		t.Errorf("down: %+v, %v", s, err)
	}
}
