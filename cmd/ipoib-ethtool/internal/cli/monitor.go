package cli

import (
	"slices"

	"ipoib/nl/ethnl"
)

// notification is a message of the monitor group: the options that select it,
// and what prints it. FEC has no option of its own.
type notification struct {
	cmd     uint8
	options []string
	print   func(*session, *message) int
}

var notifications = []notification{
	{ethnl.MsgLinkInfoNTF, []string{"-s", "--change"}, (*session).linkInfoReply},
	{ethnl.MsgLinkModesNTF, []string{"-s", "--change"}, (*session).linkModesReply},
	{ethnl.MsgWoLNTF, []string{"-s", "--change"}, (*session).wolReply},
	{ethnl.MsgDebugNTF, []string{"-s", "--change"}, (*session).debugReply},
	{
		ethnl.MsgFeaturesNTF,
		[]string{"-k", "--show-features", "--show-offload", "-K", "--features", "--offload"},
		(*session).featuresReply,
	},
	{ethnl.MsgPrivFlagsNTF, []string{"--show-priv-flags", "--set-priv-flags"}, (*session).privFlagsReply},
	{ethnl.MsgRingsNTF, []string{"-g", "--show-ring", "-G", "--set-ring"}, (*session).ringsReply},
	{ethnl.MsgChannelsNTF, []string{"-l", "--show-channels", "-L", "--set-channels"}, (*session).channelsReply},
	{ethnl.MsgCoalesceNTF, []string{"-c", "--show-coalesce", "-C", "--coalesce"}, (*session).coalesceReply},
	{ethnl.MsgPauseNTF, []string{"-a", "--show-pause", "-A", "--pause"}, (*session).pauseReply},
	{ethnl.MsgEEENTF, []string{"--show-eee", "--set-eee"}, (*session).eeeReply},
	{ethnl.MsgCableTestNTF, []string{"--cable-test"}, (*session).cableNTF},
	{ethnl.MsgCableTestTDRNTF, []string{"--cable-test-tdr"}, (*session).tdrNTF},
	{ethnl.MsgModuleNTF, []string{"--show-module", "--set-module"}, (*session).moduleReply},
	{ethnl.MsgFECNTF, nil, (*session).fecReply},
}

// selected returns the notifications that an option of --monitor selects.
func selected(opt string) []notification {
	if opt == "" || opt == "--all" {
		return notifications
	}
	var out []notification
	for _, n := range notifications {
		if slices.Contains(n.options, opt) {
			out = append(out, n)
		}
	}
	return out
}

// monitor is --monitor: it prints notifications until the service ends.
func (s *session) monitor() int {
	if err := s.open(); err != nil {
		s.errorf("ipoib-ethtool: %v\n", err)
		return failed
	}
	if s.group == 0 {
		s.errorf("multicast group 'monitor' not found\n")
		return unsupported
	}
	opt := ""
	if len(s.args) > 0 && len(s.args[0]) > 0 && s.args[0][0] == '-' {
		opt, s.args = s.args[0], s.args[1:]
	}
	show := selected(opt)
	if show == nil {
		dev := null
		if len(s.args) > 0 {
			dev = s.args[0]
		}
		s.errorf("monitoring for option '%s' not supported\n", dev)
		return 1
	}
	if len(s.args) > 0 && s.args[0] != wildcard {
		s.dev, s.hasDev = s.args[0], true
	}
	s.askStrings(s.main, "", false, -1)
	if code := s.joinMonitor(); code != 0 {
		return code
	}
	if s.hasDev {
		s.askStrings(s.main, s.dev, true, -1)
	}
	s.watch(s.dev, s.hasDev)
	s.out.print("listening...\n")
	s.out.flush()
	return s.main.receive(func(m *message) int {
		defer s.out.flush()
		for _, n := range show {
			if n.cmd == m.cmd() {
				return n.print(s, m)
			}
		}
		return cbOK
	})
}
