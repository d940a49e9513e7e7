package cli

import (
	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// param is a parameter of a SET command: its word on the command line, and
// how the words behind it become an attribute.
type param struct {
	word string
	// group is the command of the message that the attribute goes into, for
	// commands that send several; 0 for the only one.
	group uint8
	attr  uint16
	// words is how many words must follow at least.
	words int
	// alt, if not 0, is shared by parameters of which one may be given.
	alt int
	// parse reads the words and adds the attribute to e, or stores the value.
	// It reports false after saying what is wrong.
	parse func(p *parser, par *param, e *nl.Encoder) bool
	// names are the values of a parameter that takes a name.
	names []value
	// bits describes a bitset.
	bits bitsetWords
	// dest, unless nil, takes the value instead of an attribute.
	dest *uint32
}

// value is a named value.
type value struct {
	name string
	v    uint32
}

// null is what the C library prints for a word that is not there.
const null = "(null)"

// parser reads the words of a SET command.
type parser struct {
	s *session
	// cmd is the option as it appears in messages, such as "-C"; word is the
	// parameter that is being read.
	cmd, word string
	args      []string
}

func (s *session) newParser(cmd string) *parser {
	return &parser{s: s, cmd: cmd, word: null, args: s.args}
}

// next takes a word.
func (p *parser) next() string {
	w := p.args[0]
	p.args = p.args[1:]
	return w
}

func (p *parser) errorf(format string, args ...any) bool {
	p.s.errorf("ethtool (%s): "+format, append([]any{p.cmd}, args...)...)
	return false
}

func (p *parser) invalid(v string) bool {
	return p.errorf("invalid value '%s' for parameter '%s'\n", v, p.word)
}

// run reads all words. message returns the encoder for a group. It stops at
// the first mistake, having printed it.
func (p *parser) run(params []param, message func(group uint8) *nl.Encoder) bool {
	seen := make([]bool, len(params))
	for len(p.args) > 0 {
		p.word = p.args[0]
		at := -1
		for i := range params {
			if params[i].word == p.word {
				at = i
				break
			}
		}
		if at < 0 {
			return p.errorf("unknown parameter '%s'\n", p.word)
		}
		par := &params[at]
		if seen[at] {
			return p.errorf("duplicate parameter '%s'\n", p.word)
		}
		p.next()
		if len(p.args) < par.words {
			if par.words == 1 {
				return p.errorf("no value for parameter '%s'\n", p.word)
			}
			return p.errorf("parameter '%s' requires %d words\n", p.word, par.words)
		}
		for i := range params {
			seen[i] = seen[i] || i == at || par.alt != 0 && params[i].alt == par.alt
		}
		if !par.parse(p, par, message(par.group)) {
			return false
		}
	}
	return true
}

// parseU32 reads a decimal or, with 0x, a hexadecimal number.
func parseU32(s string) (uint32, bool) {
	base := uint64(10)
	if has0x(s) {
		s, base = s[2:], 16
	}
	if s == "" {
		return 0, false
	}
	v, rest := cstrtoul(s, base)
	return uint32(v), rest == "" && v <= 1<<32-1
}

func has0x(s string) bool { return len(s) >= 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') }

// put stores a value or adds it as an attribute.
func (par *param) put(v uint32, add func(uint16, uint32)) {
	if par.dest != nil {
		*par.dest = v
	}
	if par.attr != 0 {
		add(par.attr, v)
	}
}

func addU8(e *nl.Encoder) func(uint16, uint32) {
	return func(t uint16, v uint32) { e.U8(t, uint8(v)) }
}

// word32 takes a number of 32 bits.
func word32(p *parser, par *param, e *nl.Encoder) bool {
	w := p.next()
	v, ok := parseU32(w)
	if !ok {
		return p.invalid(w)
	}
	par.put(v, e.U32)
	return true
}

// word8 takes a number of 8 bits.
func word8(p *parser, par *param, e *nl.Encoder) bool {
	w := p.next()
	v, ok := parseU32(w)
	if !ok || v > 0xff {
		return p.invalid(w)
	}
	par.put(v, addU8(e))
	return true
}

// onOff takes "on" or "off".
func onOff(p *parser, par *param, e *nl.Encoder) bool {
	w := p.next()
	if w != "on" && w != "off" {
		return p.invalid(w)
	}
	v := uint32(0)
	if w == "on" {
		v = 1
	}
	par.put(v, addU8(e))
	return true
}

// name8 takes one of the parameter's names.
func name8(p *parser, par *param, e *nl.Encoder) bool {
	w := p.next()
	for _, n := range par.names {
		if n.name == w {
			par.put(n.v, addU8(e))
			return true
		}
	}
	return p.invalid(w)
}

// metres takes a length in metres and adds it in centimetres.
func metres(p *parser, par *param, e *nl.Encoder) bool {
	w := p.next()
	v, ok := parseFloat(w)
	if !ok || !(v >= 0 && v <= 150) {
		return p.invalid(w)
	}
	par.put(uint32(v*100+0.5), e.U32)
	return true
}

// deprecated refuses a parameter of old.
func deprecated(p *parser, _ *param, _ *nl.Encoder) bool {
	return p.errorf("deprecated parameter '%s' not supported by kernel\n", p.word)
}

// octets takes a password as six octets in hex.
func octets(p *parser, par *param, e *nl.Encoder) bool {
	w := p.next()
	b, ok := parseOctets(w, 6)
	if !ok {
		p.s.errorf("ethtool (%s): invalid value '%s' of parameter '%s'\n", p.cmd, w, p.word)
		return false
	}
	e.Put(par.attr, b)
	return true
}

// parseOctets reads n octets of one or two hex digits, with colons between.
func parseOctets(s string, n int) ([]byte, bool) {
	var out []byte
	for i := 0; ; {
		start, v := i, 0
		for i < len(s) && digit(s[i]) < 16 && i-start < 2 {
			v = v<<4 | digit(s[i])
			i++
		}
		if i == start {
			return nil, false
		}
		out = append(out, byte(v))
		if i == len(s) {
			return out, len(out) == n
		}
		if s[i] != ':' {
			return nil, false
		}
		i++
	}
}

// putBit adds a bit of a verbose bitset.
func putBit(e *nl.Encoder, name string, value bool) {
	e.Nest(ethnl.BitsetBitsBit, func() {
		e.String(ethnl.BitsetBitName, name)
		if value {
			e.Flag(ethnl.BitsetBitValue)
		}
	})
}
