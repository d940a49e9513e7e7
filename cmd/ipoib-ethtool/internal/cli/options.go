package cli

import "strings"

// option is a command.
type option struct {
	// names are its options with bars between; the plain command has none.
	names string
	noDev bool
	json  bool
	// check reports whether the command is one that netlink has; nil means
	// always.
	check func(*session) bool
	// netlink asks by netlink, old in the old way. They return the exit code.
	netlink, old func(*session) int
	help         string
	// params are the words that the command takes, for the help.
	params string
}

// options are the commands, in the order of the help. The first has no option.
// It is filled by init because the help is one of them.
var options []option

func init() {
	options = []option{
		{netlink: getSettings, old: noOld, help: "show the link settings"},
		{names: "-s|--change", netlink: setSettings, old: noOld, help: "change the link settings", params: "" +
			"[speed N] [lanes N] [duplex half|full] [port tp|aui|bnc|mii|fibre|da] [mdix auto|on|off]\n" +
			"[autoneg on|off] [advertise X[/X]|MODE on|off ... [--]] [phyad N] [xcvr internal|external]\n" +
			"[wol N[/N]|pumbagsfd...] [sopass X:X:X:X:X:X] [msglvl N[/N]|CLASS on|off ... [--]]\n" +
			"[master-slave preferred-master|preferred-slave|forced-master|forced-slave]"},
		{names: "-a|--show-pause", json: true, netlink: getPause, old: noOld, help: "show the pause frames"},
		{names: "-A|--pause", netlink: setPause, old: noOld, help: "change the pause frames",
			params: "[autoneg on|off] [rx on|off] [tx on|off]"},
		{names: "-c|--show-coalesce", netlink: getCoalesce, old: noOld, help: "show the interrupt coalescing"},
		{names: "-C|--coalesce", netlink: setCoalesce, old: noOld, help: "change the interrupt coalescing", params: "" +
			"[rx-usecs N] [rx-frames N] [rx-usecs-irq N] [rx-frames-irq N]\n" +
			"[tx-usecs N] [tx-frames N] [tx-usecs-irq N] [tx-frames-irq N]\n" +
			"[adaptive-rx on|off] [adaptive-tx on|off] [stats-block-usecs N] [sample-interval N]\n" +
			"[pkt-rate-low N] [rx-usecs-low N] [rx-frames-low N] [tx-usecs-low N] [tx-frames-low N]\n" +
			"[pkt-rate-high N] [rx-usecs-high N] [rx-frames-high N] [tx-usecs-high N] [tx-frames-high N]\n" +
			"[cqe-mode-rx on|off] [cqe-mode-tx on|off]"},
		{names: "-g|--show-ring", netlink: getRings, old: noOld, help: "show the ring sizes"},
		{names: "-G|--set-ring", netlink: setRings, old: noOld, help: "change the ring sizes",
			params: "[rx N] [rx-mini N] [rx-jumbo N] [tx N] [rx-buf-len N] [cqe-size N] [tx-push on|off]"},
		{names: "-k|--show-features|--show-offload", json: true, netlink: getFeatures, old: noOld,
			help: "show the offloads and other features"},
		{names: "-K|--features|--offload", netlink: setFeatures, old: noOld,
			help: "change the offloads and other features", params: "FEATURE on|off ..."},
		{names: "-i|--driver", old: driverInfo, help: "show the driver"},
		{names: "-d|--register-dump", old: registerDump, help: "dump the registers", params: "[raw on|off] [file NAME]"},
		{names: "-e|--eeprom-dump", old: dumpEEPROM, help: "dump the EEPROM",
			params: "[raw on|off] [offset N] [length N]"},
		{names: "-E|--change-eeprom", old: changeEEPROM, help: "change the EEPROM",
			params: "[magic N] [offset N] [length N] [value N]"},
		{names: "-r|--negotiate", old: negotiate, help: "restart the auto-negotiation"},
		{names: "-p|--identify", old: identify, help: "blink the port's lamp", params: "[SECONDS]"},
		{names: "-t|--test", old: selfTest, help: "run the self test", params: "[online|offline|external_lb]"},
		{names: "-S|--statistics", json: true, check: func(s *session) bool { return len(s.args) > 0 },
			netlink: getStats, old: nicStats, help: "show the statistics",
			params: "[--all-groups|--groups [eth-phy] [eth-mac] [eth-ctrl] [rmon]]"},
		{names: "--phy-statistics", old: phyStats, help: "show the statistics of the PHY"},
		{names: "-n|-u|--show-nfc|--show-ntuple", old: showRules, help: "show the flow classification",
			params: "[rx-flow-hash FLOW [context N]|rule N]"},
		{names: "-N|-U|--config-nfc|--config-ntuple", old: changeRules, help: "change the flow classification", params: "" +
			"rx-flow-hash FLOW m|v|t|s|d|f|n|r... [context N]\n" +
			"flow-type FLOW [FIELD VALUE [m MASK]]... [action N|vf N queue N] [context N] [loc N]\n" +
			"delete N"},
		{names: "-T|--show-time-stamping", netlink: getTSInfo, old: noOld, help: "show the time stamping"},
		{names: "-x|--show-rxfh-indir|--show-rxfh", old: showRxFH, help: "show the receive flow hash",
			params: "[context N]"},
		{names: "-X|--set-rxfh-indir|--rxfh", old: changeRxFH, help: "change the receive flow hash", params: "" +
			"[context N|new] [start N] [equal N|weight W...|default] [hkey X:X:...] [hfunc NAME] [delete]"},
		{names: "-f|--flash", old: flash, help: "flash firmware", params: "FILE [REGION]"},
		{names: "-P|--show-permaddr", netlink: getPermAddr, old: noOld, help: "show the permanent hardware address"},
		{names: "-w|--get-dump", old: getDump, help: "get the firmware dump", params: "[data FILE]"},
		{names: "-W|--set-dump", old: setDump, help: "set the firmware dump's flag", params: "N"},
		{names: "-l|--show-channels", netlink: getChannels, old: noOld, help: "show the channels"},
		{names: "-L|--set-channels", netlink: setChannels, old: noOld, help: "change the channels",
			params: "[rx N] [tx N] [other N] [combined N]"},
		{names: "--show-priv-flags", netlink: getPrivFlags, old: noOld, help: "show the private flags"},
		{names: "--set-priv-flags", netlink: setPrivFlags, old: noOld, help: "change the private flags",
			params: "FLAG on|off ..."},
		{names: "-m|--dump-module-eeprom|--module-info", netlink: getEEPROM, old: wholeEEPROM,
			help:   "dump the module's EEPROM",
			params: "[raw on|off] [hex on|off] [offset N] [length N] [page N] [bank N] [i2c N]"},
		{names: "--show-eee", netlink: getEEE, old: noOld, help: "show the energy efficient Ethernet"},
		{names: "--set-eee", netlink: setEEE, old: noOld, help: "change the energy efficient Ethernet",
			params: "[eee on|off] [advertise X] [tx-lpi on|off] [tx-timer N]"},
		{names: "--set-phy-tunable", old: setPHYTunable, help: "change a tunable of the PHY", params: "" +
			"downshift on|off [count N]\nfast-link-down on|off [msecs N]\nenergy-detect-power-down on|off [msecs N]"},
		{names: "--get-phy-tunable", old: getPHYTunable, help: "show a tunable of the PHY",
			params: "downshift|fast-link-down|energy-detect-power-down"},
		{names: "--get-tunable", old: getTunable, help: "show tunables",
			params: "rx-copybreak|tx-copybreak|tx-buf-size|pfc-prevention-tout ..."},
		{names: "--set-tunable", old: setTunable, help: "change tunables",
			params: "[rx-copybreak N] [tx-copybreak N] [tx-buf-size N] [pfc-prevention-tout N]"},
		{names: "--reset", old: reset, help: "reset components; those before dedicated also with -shared", params: "" +
			"[flags X] [mgmt] [irq] [dma] [filter] [offload] [mac] [phy] [ram] [ap] [dedicated] [all]"},
		{names: "--show-fec", json: true, netlink: getFEC, old: noOld, help: "show the forward error correction"},
		{names: "--set-fec", netlink: setFEC, old: noOld, help: "change the forward error correction",
			params: "encoding auto|off|rs|baser|llrs ..."},
		{names: "-Q|--per-queue", old: perQueue, help: "show or change the coalescing of queues",
			params: "[queue_mask X] --show-coalesce|--coalesce ..."},
		{names: "--cable-test", json: true, netlink: cableTest, help: "test the cable"},
		{names: "--cable-test-tdr", json: true, netlink: cableTestTDR, help: "test the cable by reflectometry",
			params: "[first N] [last N] [step N] [pair N]"},
		{names: "--show-tunnels", netlink: getTunnels, help: "show the tunnel offloads"},
		{names: "--show-module", json: true, netlink: getModule, help: "show the module's settings"},
		{names: "--set-module", netlink: setModule, help: "change the module's settings",
			params: "power-mode-policy high|auto"},
		{names: "-h|--help", noDev: true, old: showHelp, help: "show this help"},
		{names: "--version", noDev: true, old: showVersion, help: "show the version"},
		{names: "--completion", noDev: true, old: showCompletion, help: "print the completion script of a shell",
			params: "bash"},
	}
}

// findOption returns the command with an option, nil for none.
func findOption(name string) *option {
	for i := 1; i < len(options); i++ {
		rest := options[i].names
		for rest != "" {
			var n string
			n, rest, _ = strings.Cut(rest, "|")
			if n == name {
				return &options[i]
			}
		}
	}
	return nil
}

func showVersion(s *session) int {
	s.out.printf("ipoib-ethtool version %s\n", s.app.Version)
	return 0
}

const helpHead = `Show and change settings of IPoIB interfaces, with the arguments and output of
ethtool 6.1.

Usage:
    ipoib-ethtool [FLAG...] [OPTION] INTERFACE|* [PARAMETER...]
    ipoib-ethtool [--debug MASK] --monitor [OPTION] [INTERFACE|*]

Flags:
    --debug MASK                show messages: 2 all, 4 dump sent, 8 dump received, 16 with attributes
    --json                      write JSON (-a -k -S --show-fec --show-module --cable-test --cable-test-tdr)
    -I, --include-statistics    show statistics as well (-a --show-fec)

Options:
`

// showHelp is --help.
func showHelp(s *session) int {
	s.out.print(helpHead)
	for i := range options {
		o := &options[i]
		s.out.printf("    %-44s%s\n", strings.ReplaceAll(o.names, "|", ", "), o.help)
		for line := range strings.Lines(o.params) {
			s.out.print("        " + strings.TrimSuffix(line, "\n") + "\n")
		}
	}
	s.out.print("    --monitor                                   show changes as they happen, of all or of one option\n")
	return 0
}
