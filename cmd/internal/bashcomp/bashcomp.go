// Package bashcomp writes completion scripts for bash from a description of a
// program's grammar. The scripts need nothing but bash: they ask neither the
// program nor the service.
package bashcomp

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// What a candidate may be besides a word: the names of a kind.
const (
	// Interfaces are the IPoIB interfaces of the shell's network namespace.
	Interfaces = "@ifaces"
	// Namespaces are the names that ip netns knows.
	Namespaces = "@netns"
	// Files are names of files.
	Files = "@files"
	// Commands are names of programs.
	Commands = "@commands"
)

// Root is the node that a command line starts at.
const Root = "/"

// Grammar describes the command lines of a program: each word goes from one
// node to another.
type Grammar struct {
	// Program is the name of the command.
	Program string
	// Nodes by name; there is one named Root.
	Nodes map[string]*Node
}

// Node is a place in a command line.
type Node struct {
	// Words are the candidates here.
	Words []string
	// Values has the candidates for the value of a word that takes one, nil
	// if they are not known.
	Values map[string][]string
	// Next is the node after a word, and its value.
	Next map[string]string
	// Other is the node after a word that is not in Next; "" stays here.
	Other string
}

// Add adds a node and returns it.
func (g *Grammar) Add(name string, words ...string) *Node {
	if g.Nodes == nil {
		g.Nodes = make(map[string]*Node)
	}
	n := &Node{Words: words, Values: make(map[string][]string), Next: make(map[string]string)}
	g.Nodes[name] = n
	return n
}

// Value adds a word that takes a value.
func (n *Node) Value(word string, values ...string) {
	n.Words = append(n.Words, word)
	n.Values[word] = values
}

// Then adds a word that leads to another node.
func (n *Node) Then(word, node string) {
	n.Words = append(n.Words, word)
	n.Next[word] = node
}

// Write writes the script.
func (g *Grammar) Write(w io.Writer) error {
	f := "_" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, g.Program)
	words, values, next, other := map[string]string{}, map[string]string{}, map[string]string{}, map[string]string{}
	for name, n := range g.Nodes {
		words[name] = strings.Join(n.Words, " ")
		for word, list := range n.Values {
			values[name+" "+word] = strings.Join(list, " ")
		}
		for word, to := range n.Next {
			next[name+" "+word] = to
		}
		if n.Other != "" {
			other[name] = n.Other
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Completion of %s for bash. Read it with: source FILE\n", g.Program)
	for _, t := range []struct {
		name string
		m    map[string]string
	}{{"words", words}, {"values", values}, {"next", next}, {"other", other}} {
		fmt.Fprintf(&b, "declare -gA %s_%s=(\n", f, t.name)
		for _, k := range slices.Sorted(maps.Keys(t.m)) {
			fmt.Fprintf(&b, "\t[%s]=%s\n", quote(k), quote(t.m[k]))
		}
		b.WriteString(")\n")
	}
	b.WriteString(strings.NewReplacer("FUNC", f, "PROGRAM", g.Program).Replace(engine))
	_, err := io.WriteString(w, b.String())
	return err
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// engine walks the words before the cursor and offers what may come next.
const engine = `FUNC_names() {
	local f
	case $1 in
	@ifaces)
		for f in /sys/class/net/*/type; do
			[[ -r $f && $(<"$f") == 32 ]] && f=${f%/type} && printf "%s\n" "${f##*/}"
		done
		;;
	@netns)
		for f in /run/netns/*; do
			[[ -e $f ]] && printf "%s\n" "${f##*/}"
		done
		;;
	@files) compgen -f -- "$2" ;;
	@commands) compgen -c -- "$2" ;;
	esac
}
FUNC() {
	local node=/ list cur=${COMP_WORDS[COMP_CWORD]} word i
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		if [[ -n ${FUNC_values["$node $word"]+x} ]]; then
			((++i))
			if ((i == COMP_CWORD)); then
				list=${FUNC_values["$node $word"]}
				break
			fi
			node=${FUNC_next["$node $word"]-$node}
		elif [[ -n ${FUNC_next["$node $word"]+x} ]]; then
			node=${FUNC_next["$node $word"]}
		elif [[ -n ${FUNC_other[$node]+x} ]]; then
			node=${FUNC_other[$node]}
		fi
	done
	: "${list=${FUNC_words[$node]-}}"
	local IFS=$' \t\n' some=()
	for word in $list; do
		if [[ $word == @* ]]; then
			mapfile -t -O "${#some[@]}" some < <(FUNC_names "$word" "$cur")
		else
			some+=("$word")
		fi
	done
	for word in "${some[@]}"; do
		[[ $word == "$cur"* ]] && COMPREPLY+=("$word")
	done
}
complete -F FUNC PROGRAM
`
