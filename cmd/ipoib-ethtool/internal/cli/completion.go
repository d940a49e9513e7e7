package cli

import (
	"slices"
	"strings"

	"ipoib/cmd/internal/bashcomp"
)

// ownFeatures are the features that an IPoIB interface can switch, for the
// completion, which asks no service.
var ownFeatures = []string{
	"rx-checksum", "tx-checksum-ipv4", "tx-checksum-ipv6", "tx-tcp-segmentation", "tx-tcp-mangleid-segmentation",
	"tx-tcp6-segmentation", "tx-generic-segmentation", "rx-gro", "rx-lro", "rx-gro-list", "rx-udp-gro-forwarding",
	"tx-nocache-copy",
}

// showCompletion is --completion, an option of our own.
func showCompletion(s *session) int {
	if len(s.args) != 1 || s.args[0] != "bash" {
		return s.badArgs()
	}
	if err := grammar().Write(s.out.w); err != nil {
		return 1
	}
	return 0
}

// grammar describes the command line by the table of options.
func grammar() *bashcomp.Grammar {
	g := &bashcomp.Grammar{Program: "ipoib-ethtool"}
	root := g.Add(bashcomp.Root, bashcomp.Interfaces, "--json", "-I", "--include-statistics")
	root.Value("--debug")
	for i := 1; i < len(options); i++ {
		o := &options[i]
		names := strings.Split(o.names, "|")
		node := bashcomp.Root + names[0]
		for _, n := range names {
			root.Then(n, node)
		}
		if o.noDev {
			g.Add(node, literals(o.params)...)
			continue
		}
		g.Add(node, bashcomp.Interfaces).Other = node + "/"
		after := g.Add(node + "/")
		addParams(after, o.params)
		if names[0] == "-K" {
			after.Words, after.Values = nil, make(map[string][]string)
			for _, f := range oldFlags {
				after.Value(f.short, "on", "off")
			}
			for _, f := range ownFeatures {
				after.Value(f, "on", "off")
			}
		}
	}
	root.Then("--monitor", "/--monitor")
	m := g.Add("/--monitor", bashcomp.Interfaces, "--all")
	for _, n := range notifications {
		for _, o := range n.options {
			if !slices.Contains(m.Words, o) {
				m.Words = append(m.Words, o)
			}
		}
	}
	return g
}

// literals are the words of a usage that stand for themselves.
func literals(usage string) (out []string) {
	for w := range strings.FieldsFuncSeq(usage, func(r rune) bool { return strings.ContainsRune(" \n|[]./", r) }) {
		if strings.ToLower(w) == w && strings.Trim(w, "-0123456789") != "" {
			out = append(out, w)
		}
	}
	return out
}

// addParams adds the parameters of a command by their usage: a word, and what
// its value may be.
func addParams(n *bashcomp.Node, usage string) {
	words := strings.Fields(strings.NewReplacer("[", " ", "]", " ", "...", " ").Replace(usage))
	for i := 0; i < len(words); i++ {
		w := words[i]
		if list := literals(w); len(list) != 1 || list[0] != w {
			// Alternatives of which each stands for itself, or a placeholder.
			n.Words = append(n.Words, list...)
			continue
		}
		switch {
		case i+1 == len(words) || literals(words[i+1]) != nil && !strings.Contains(words[i+1], "|"):
			n.Words = append(n.Words, w)
		default:
			n.Value(w, literals(words[i+1])...)
			i++
		}
	}
}
