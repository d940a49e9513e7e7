package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"ipoib/cmd/internal/bashcomp"
	"ipoib/cmd/ipoib/internal/iproute"
)

func completionCommand(e env) *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print the completion script of a shell", ArgsUsage: "bash",
		Description: "For this shell: source <(ipoib completion bash). For all of bash: write the script to\n" +
			"/usr/share/bash-completion/completions/ipoib. That of ipoib-ethtool is printed by\n" +
			"ipoib-ethtool --completion bash.",
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 || c.Args().First() != "bash" {
				return fmt.Errorf("Usage: ipoib completion bash")
			}
			return grammar(newApp(e)).Write(e.out)
		},
	}
}

// grammar is the grammar of the program: that of its commands, and that of
// link and monitor.
func grammar(app *cli.App) *bashcomp.Grammar {
	g := &bashcomp.Grammar{Program: app.Name}
	root := g.Add(bashcomp.Root)
	addFlags(root, app.Flags)
	for _, c := range app.Commands {
		addCommand(g, root, bashcomp.Root, c)
	}
	root.Words = append(root.Words, "help")
	root.Next["help"] = "/help"
	help := g.Add("/help")
	for _, c := range app.Commands {
		help.Words = append(help.Words, c.Name)
	}
	iproute.AddGrammar(g)
	return g
}

// addCommand adds a command with its flags and subcommands below a node.
func addCommand(g *bashcomp.Grammar, at *bashcomp.Node, path string, c *cli.Command) {
	name := strings.TrimSuffix(path, "/") + "/" + c.Name
	at.Then(c.Name, name)
	for _, a := range c.Aliases {
		at.Next[a] = name
	}
	n := g.Add(name)
	if name == "/link" || name == "/monitor" {
		return // iproute has their words
	}
	for _, sub := range c.Subcommands {
		addCommand(g, n, name, sub)
	}
	addFlags(n, c.Flags)
	switch {
	case strings.Contains(c.ArgsUsage, "COMMAND"):
		n.Words = []string{bashcomp.Commands}
	case strings.HasPrefix(c.ArgsUsage, "PORT"):
		n.Words = append(n.Words, bashcomp.Interfaces)
		addChoice(n, c.ArgsUsage)
	case strings.Contains(c.ArgsUsage, "[dev IFNAME]"):
		n.Value("dev", bashcomp.Interfaces)
		n.Words = append(n.Words, bashcomp.Interfaces)
	case strings.Contains(c.ArgsUsage, "dev IFNAME"):
		n.Value("dev", bashcomp.Interfaces)
		if strings.Contains(c.ArgsUsage, "lladdr") {
			n.Value("lladdr")
		}
	case strings.Contains(c.ArgsUsage, "IFNAME"):
		n.Words = append(n.Words, bashcomp.Interfaces)
	default:
		addChoice(n, c.ArgsUsage)
	}
}

// addChoice adds the literal words of a usage: those in lower case.
func addChoice(n *bashcomp.Node, usage string) {
	usage, _, _ = strings.Cut(usage, "(")
	for word := range strings.FieldsFuncSeq(usage, func(r rune) bool { return r == '|' || r == ' ' }) {
		if word == strings.ToLower(word) {
			n.Words = append(n.Words, word)
		}
	}
}

// addFlags adds the flags of a command.
func addFlags(n *bashcomp.Node, flags []cli.Flag) {
	for _, f := range flags {
		for _, name := range f.Names() {
			dash := "--"
			if len(name) == 1 {
				dash = "-"
			}
			word := dash + name
			if d, ok := f.(cli.DocGenerationFlag); ok && d.TakesValue() {
				n.Value(word, flagValues(name)...)
			} else {
				n.Words = append(n.Words, word)
			}
		}
	}
	n.Words = append(n.Words, "--help")
}

// flagValues are the candidates for the value of a flag.
func flagValues(name string) []string {
	switch name {
	case "run-dir", "config", "partitions", "write", "w":
		return []string{bashcomp.Files}
	case "log-level":
		return []string{"debug", "info", "warn", "error"}
	case "parent":
		return []string{bashcomp.Interfaces}
	}
	return nil
}
