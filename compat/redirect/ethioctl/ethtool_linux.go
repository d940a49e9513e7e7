package ethioctl

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"ipoib/compat/redirect/upstream"
	"ipoib/nl"
	"ipoib/nl/ethnl"
	"ipoib/nl/ipoibnl"
)

var native = binary.NativeEndian

// commands are those with a structure of their own (dev_ethtool). What is not
// here the service answers by an errno.
var commands = map[uint32]func(*device, uint64) error{
	unix.ETHTOOL_GDRVINFO:      (*device).drvinfo,
	unix.ETHTOOL_GSSET_INFO:    (*device).ssetInfo,
	unix.ETHTOOL_GSTRINGS:      (*device).gstrings,
	unix.ETHTOOL_GSTATS:        (*device).stats,
	unix.ETHTOOL_GLINK:         (*device).linkState,
	unix.ETHTOOL_GPERMADDR:     (*device).permAddr,
	unix.ETHTOOL_GCOALESCE:     (*device).coalesce,
	unix.ETHTOOL_SCOALESCE:     (*device).setCoalesce,
	unix.ETHTOOL_GFEATURES:     (*device).features,
	unix.ETHTOOL_SFEATURES:     (*device).setFeatures,
	unix.ETHTOOL_GFLAGS:        (*device).flagWord,
	unix.ETHTOOL_SFLAGS:        (*device).setFlagWord,
	unix.ETHTOOL_GSET:          (*device).settings,
	unix.ETHTOOL_GLINKSETTINGS: (*device).linkSettings,
	unix.ETHTOOL_GET_TS_INFO:   (*device).tsInfo,
}

// refused are commands that read, need no privilege, and that the driver does
// not have.
var refused = map[uint32]bool{
	unix.ETHTOOL_GMSGLVL: true, unix.ETHTOOL_GRINGPARAM: true, unix.ETHTOOL_GPAUSEPARAM: true,
	unix.ETHTOOL_GPFLAGS: true, unix.ETHTOOL_GRXCLSRLALL: true, unix.ETHTOOL_GRXFHINDIR: true,
	unix.ETHTOOL_GEEE: true, unix.ETHTOOL_GRSSH: true, unix.ETHTOOL_GPHYSTATS: true, unix.ETHTOOL_GFECPARAM: true,
}

// ethtool answers SIOCETHTOOL. data is the address of the command's structure,
// which begins with the command.
func (d *device) ethtool(data uint64) error {
	cmd, err := d.tr.Thread.Uint32(data)
	if err != nil {
		return d.tr.Fail(unix.EFAULT)
	}
	if do := commands[cmd]; do != nil {
		return d.finish(do(d, data))
	}
	if f, ok := oneFeature[cmd]; ok {
		return d.finish(d.single(f, data))
	}
	if refused[cmd] {
		return d.tr.Fail(unix.EOPNOTSUPP)
	}
	_, err = d.w.Legacy(d.options(), d.name, cmd)
	return d.finish(err)
}

// finish answers with success unless the command did, or with its error.
func (d *device) finish(err error) error {
	if err == nil {
		return d.tr.Return(0)
	}
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return d.tr.Fail(errno)
	}
	if errors.Is(err, upstream.ErrNoService) {
		return d.tr.Continue()
	}
	return d.tr.Fail(unix.EIO)
}

// options are those of a request to the service.
func (d *device) options() upstream.Options {
	return upstream.Options{Privileged: d.tr.Thread.NetAdmin(int(d.w.NetNS().Fd()))}
}

// get sends a request of the ethtool family that reads, and returns the
// attributes of the answer.
func (d *device) get(cmd uint8, flags uint32, fill func(*nl.Encoder)) (map[uint16]nl.Attr, error) {
	bodies, err := d.w.Ethnl(upstream.Options{}, 0, cmd, func(e *nl.Encoder) {
		ethnl.AppendRequestHeader(e, 1, d.name, flags)
		if fill != nil {
			fill(e)
		}
	})
	if err != nil {
		return nil, err
	}
	if len(bodies) == 0 {
		return nil, unix.EOPNOTSUPP
	}
	return attrMap(bodies[0]), nil
}

func attrMap(b []byte) map[uint16]nl.Attr {
	out := make(map[uint16]nl.Attr)
	for a := range (nl.Attr{Data: b}).Children() {
		out[a.Type] = a
	}
	return out
}

// set sends a request that changes something.
func (d *device) set(cmd uint8, flags uint32, fill func(*nl.Encoder)) (map[uint16]nl.Attr, error) {
	bodies, err := d.w.Ethnl(d.options(), acknowledge, cmd, func(e *nl.Encoder) {
		ethnl.AppendRequestHeader(e, 1, d.name, flags)
		fill(e)
	})
	if err != nil || len(bodies) == 0 {
		return nil, err
	}
	return attrMap(bodies[0]), nil
}

// structure collects the fields of a command's structure.
type structure []byte

func (s *structure) u32(vs ...uint32) {
	for _, v := range vs {
		*s = native.AppendUint32(*s, v)
	}
}

func (s *structure) u64(v uint64) { *s = native.AppendUint64(*s, v) }

// text appends a string in n bytes, the last of which is NUL.
func (s *structure) text(v string, n int) {
	b := make([]byte, n)
	copy(b[:n-1], v)
	*s = append(*s, b...)
}

// write writes a structure to the program.
func (d *device) write(data uint64, s structure) error {
	if err := d.tr.Thread.Write(data, s); err != nil {
		return unix.EFAULT
	}
	return nil
}

// words reads n numbers of the program's structure, the command first.
func (d *device) words(data uint64, n int) ([]uint32, error) {
	b := make([]byte, 4*n)
	if err := d.tr.Thread.Read(data, b); err != nil {
		return nil, unix.EFAULT
	}
	out := make([]uint32, n)
	for i := range out {
		out[i] = native.Uint32(b[4*i:])
	}
	return out, nil
}

// drvinfo is struct ethtool_drvinfo.
func (d *device) drvinfo(data uint64) error {
	r, err := d.w.Legacy(d.options(), d.name, ipoibnl.EthtoolGDrvInfo)
	if err != nil {
		return err
	}
	var s structure
	s.u32(unix.ETHTOOL_GDRVINFO)
	for _, text := range []string{r.Driver, r.Version, r.Firmware, r.Bus, ""} {
		s.text(text, 32)
	}
	s.text("", 12)
	s.u32(0, r.NumStats, 0, 0, 0)
	return d.write(data, s)
}

// stats is struct ethtool_stats.
func (d *device) stats(data uint64) error {
	r, err := d.w.Legacy(d.options(), d.name, ipoibnl.EthtoolGStats)
	if err != nil {
		return err
	}
	var s structure
	s.u32(unix.ETHTOOL_GSTATS, uint32(len(r.Stats)))
	for _, c := range r.Stats {
		s.u64(c.Value)
	}
	return d.write(data, s)
}

// linkState is struct ethtool_value.
func (d *device) linkState(data uint64) error {
	a, err := d.get(ethnl.CmdLinkStateGet, 0, nil)
	if err != nil {
		return err
	}
	var s structure
	s.u32(unix.ETHTOOL_GLINK, uint32(a[ethnl.LinkStateLink].Uint8()))
	return d.write(data, s)
}

// permAddr is struct ethtool_perm_addr.
func (d *device) permAddr(data uint64) error {
	in, err := d.words(data, 2)
	if err != nil {
		return err
	}
	l, err := d.link()
	if err != nil {
		return err
	}
	if int(in[1]) < len(l.PermAddress) {
		return unix.Errno(etoosmall)
	}
	var s structure
	s.u32(unix.ETHTOOL_GPERMADDR, uint32(len(l.PermAddress)))
	return d.write(data, append(s, l.PermAddress...))
}

// etoosmall is ETOOSMALL, which the kernel lets out here.
const etoosmall = 525

// tsInfo is struct ethtool_ts_info.
func (d *device) tsInfo(data uint64) error {
	a, err := d.get(ethnl.CmdTSInfoGet, ethnl.FlagCompactBitsets, nil)
	if err != nil {
		return err
	}
	first := func(t uint16) uint32 {
		if m := bitmap(a[t], ethnl.BitsetValue); len(m) > 0 {
			return m[0]
		}
		return 0
	}
	var s structure
	s.u32(unix.ETHTOOL_GET_TS_INFO, first(ethnl.TSInfoTimestamping), ^uint32(0), first(ethnl.TSInfoTxTypes), 0, 0, 0,
		first(ethnl.TSInfoRxFilters), 0, 0, 0)
	return d.write(data, s)
}
