package main

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"ipoib/nl/ipoibnl"
	"ipoib/rdma"
)

// devFilter reads the optional "[dev] IFNAME" of a listing.
func devFilter(args []string) (ipoibnl.Filter, error) {
	if len(args) > 0 && args[0] == "dev" {
		if args = args[1:]; len(args) == 0 {
			return ipoibnl.Filter{}, fmt.Errorf("dev needs the name of an interface")
		}
	}
	switch len(args) {
	case 0:
		return ipoibnl.Filter{}, nil
	case 1:
		return ipoibnl.Filter{Ifname: args[0]}, nil
	}
	return ipoibnl.Filter{}, fmt.Errorf("unexpected argument %q", args[1])
}

// listing is a command that dumps objects of interfaces.
func listing[T any](e env, cmd uint8, text func([]T) error, object func(T) any) cli.ActionFunc {
	return func(c *cli.Context) error {
		args := c.Args().Slice()
		if len(args) > 0 && (args[0] == "show" || args[0] == "list") {
			args = args[1:]
		}
		q, err := devFilter(args)
		if err != nil {
			return err
		}
		cl, err := dial(c)
		if err != nil {
			return err
		}
		defer func() { _ = cl.Close() }()
		items, err := ipoibnl.Dump[T](cl, cmd, q)
		if err != nil {
			return named(q.Ifname, err)
		}
		if !c.Bool("json") {
			return text(items)
		}
		out := make([]any, len(items))
		for i := range items {
			out[i] = object(items[i])
		}
		return printJSON(e.out, out)
	}
}

// named puts the interface that a request was about in front of its error.
func named(ifname string, err error) error {
	if ifname == "" || err == nil {
		return err
	}
	return fmt.Errorf("%s: %s", ifname, message(err))
}

func neighCommand(e env) *cli.Command {
	list := listing(e, ipoibnl.CmdNeighGet, func(items []ipoibnl.Neigh) error {
		t := newTable(e.out, "IP", "DEV", "LLADDR", "STATE", "TRANSPORT", "CONN", "LQPN", "QPN", "LID", "MTU", "IDLE")
		for _, n := range items {
			idle := (time.Duration(n.IdleMS) * time.Millisecond).Round(time.Second)
			mtu := any(n.MTU)
			if n.MTU == 0 {
				mtu = "-"
			}
			t.row(n.IP, n.Ifname, colonHex(n.Addr), n.State, n.Transport, dash(n.Connection), qpn(n.LocalQPN), qpn(n.QPN), lid(n.LID), mtu, idle)
		}
		return t.flush()
	}, func(n ipoibnl.Neigh) any {
		return struct {
			ipoibnl.Neigh
			LLAddr string `json:"lladdr,omitempty"`
		}{n, colonHex(n.Addr)}
	})
	change := func(cmd uint8, usage string, min, max int) cli.ActionFunc {
		return func(c *cli.Context) error {
			m, err := parseNeigh(c.Args().Slice(), min, max)
			if err != nil {
				return fmt.Errorf("%w\nUsage: ipoib neigh %s", err, usage)
			}
			cl, err := dial(c)
			if err != nil {
				return err
			}
			defer func() { _ = cl.Close() }()
			return named(m.Ifname, cl.Do(cmd, m))
		}
	}
	return &cli.Command{
		Name: "neigh", Aliases: []string{"neighbour"}, Usage: "list and change neighbours (IP next hops)",
		ArgsUsage: "[dev IFNAME]", Flags: []cli.Flag{jsonFlag()}, Action: list,
		Subcommands: []*cli.Command{
			{Name: "show", Aliases: []string{"list"}, Usage: "list neighbours", ArgsUsage: "[dev IFNAME]", Flags: []cli.Flag{jsonFlag()}, Action: list},
			{Name: "add", Usage: "set a permanent neighbour", ArgsUsage: "IP lladdr LLADDR dev IFNAME", Action: change(ipoibnl.CmdNeighSet, "add IP lladdr LLADDR dev IFNAME", 3, 3)},
			{Name: "del", Usage: "remove a neighbour", ArgsUsage: "IP dev IFNAME", Action: change(ipoibnl.CmdNeighDel, "del IP dev IFNAME", 2, 2)},
			{Name: "flush", Usage: "remove all neighbours that are not permanent", ArgsUsage: "dev IFNAME", Action: change(ipoibnl.CmdNeighDel, "flush dev IFNAME", 1, 1)},
		},
	}
}

// dash is s, or a dash where there is nothing.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func connCommand(e env) *cli.Command {
	return &cli.Command{
		Name: "conn", Usage: "list the connections of interfaces (connected mode)", ArgsUsage: "[dev IFNAME]",
		Flags: []cli.Flag{jsonFlag()},
		Action: listing(e, ipoibnl.CmdConnGet, func(items []ipoibnl.Conn) error {
			t := newTable(e.out, "LLADDR", "DEV", "SIDE", "STATE", "LQPN", "QPN", "MTU")
			for _, n := range items {
				side := "passive"
				if n.Active {
					side = "active"
				}
				mtu := any(n.MTU)
				if n.MTU == 0 {
					mtu = "-"
				}
				t.row(colonHex(n.Addr), n.Ifname, side, n.State, qpn(n.LocalQPN), qpn(n.RemoteQPN), mtu)
			}
			return t.flush()
		}, func(n ipoibnl.Conn) any {
			return struct {
				ipoibnl.Conn
				LLAddr string `json:"lladdr,omitempty"`
			}{n, colonHex(n.Addr)}
		}),
	}
}

// parseNeigh reads "IP lladdr ADDR dev IFNAME" in ip's order or any other; the
// number of parts that were given must be in range.
func parseNeigh(args []string, least, most int) (ipoibnl.Neigh, error) {
	var m ipoibnl.Neigh
	parts := 0
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		if word == "dev" || word == "lladdr" || word == "to" {
			if len(args) == 0 {
				return m, fmt.Errorf("%s needs an argument", word)
			}
			value := args[0]
			args = args[1:]
			switch word {
			case "dev":
				m.Ifname = value
			case "lladdr":
				b, err := hex.DecodeString(strings.ReplaceAll(value, ":", ""))
				if err != nil || len(b) != 20 {
					return m, fmt.Errorf("%q is not a link-layer address of 20 octets", value)
				}
				m.Addr = b
			case "to":
				args = append([]string{value}, args...)
				continue
			}
			parts++
			continue
		}
		ip, err := netip.ParseAddr(word)
		if err != nil {
			return m, fmt.Errorf("%q is not an IP address", word)
		}
		m.IP = ip
		parts++
	}
	if parts < least || parts > most || m.Ifname == "" {
		return m, fmt.Errorf("incomplete command")
	}
	return m, nil
}

func pathCommand(e env) *cli.Command {
	return &cli.Command{
		Name: "path", Usage: "list the path records of interfaces", ArgsUsage: "[dev IFNAME]",
		Flags: []cli.Flag{jsonFlag()},
		Action: listing(e, ipoibnl.CmdPathGet, func(items []ipoibnl.Path) error {
			t := newTable(e.out, "GID", "DEV", "STATE", "DLID", "SL", "MTU", "RATE")
			for _, p := range items {
				t.row(rdma.GID(p.GID), p.Ifname, p.State, lid(p.DLID), p.SL, p.MTU, gbps(p.RateMbps))
			}
			return t.flush()
		}, func(p ipoibnl.Path) any {
			return struct {
				GID rdma.GID `json:"gid"`
				ipoibnl.Path
			}{rdma.GID(p.GID), p}
		}),
	}
}

func mcgCommand(e env) *cli.Command {
	return &cli.Command{
		Name: "mcg", Usage: "list the multicast groups of interfaces", ArgsUsage: "[dev IFNAME]",
		Flags: []cli.Flag{jsonFlag()},
		Action: listing(e, ipoibnl.CmdGroupGet, func(items []ipoibnl.Group) error {
			t := newTable(e.out, "MGID", "DEV", "STATE", "MLID", "ROLE", "QKEY", "MTU", "RATE", "QUEUED")
			for _, g := range items {
				qkey := "-"
				if g.QKey != 0 {
					qkey = rdma.QKey(g.QKey).String()
				}
				t.row(rdma.GID(g.MGID), g.Ifname, g.State, lid(g.MLID), groupRole(&g), qkey, g.MTU, gbps(g.RateMbps), g.Queued)
			}
			return t.flush()
		}, func(g ipoibnl.Group) any {
			return struct {
				MGID rdma.GID `json:"mgid"`
				ipoibnl.Group
			}{rdma.GID(g.MGID), g}
		}),
	}
}

func groupRole(g *ipoibnl.Group) string {
	switch {
	case g.Broadcast:
		return "broadcast"
	case g.SendOnly:
		return "send-only"
	case g.NonMember:
		return "non-member"
	}
	return "member"
}

func statsCommand(e env) *cli.Command {
	return &cli.Command{
		Name: "stats", Usage: "show counters and the reasons of drops", ArgsUsage: "[dev IFNAME]",
		Flags: []cli.Flag{jsonFlag(), &cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "also reasons that never occurred"}},
		Action: func(c *cli.Context) error {
			return listing(e, ipoibnl.CmdStatsGet, func(items []ipoibnl.Stats) error {
				for _, s := range items {
					fmt.Fprintf(e.out, "%s:\n", s.Ifname)
					for _, k := range s.Counters {
						fmt.Fprintf(e.out, "    %s: %d\n", k.Name, k.Value)
					}
					for _, k := range s.Drops {
						if k.Value != 0 || c.Bool("all") {
							fmt.Fprintf(e.out, "    drop %s: %d\n", k.Name, k.Value)
						}
					}
				}
				return nil
			}, func(s ipoibnl.Stats) any { return s })(c)
		},
	}
}
