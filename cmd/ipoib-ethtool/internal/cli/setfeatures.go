package cli

import (
	"slices"

	"ipoib/nl/ethnl"
)

// featureChange is a run of -K.
type featureChange struct {
	s     *session
	names []string
	// asked are the features that were asked for.
	asked ethnl.Bitmap
	// nothing: none of them is as it was asked.
	nothing bool
}

// words takes the pairs of a feature and on or off.
func (c *featureChange) words(p *parser) bool {
	for len(p.args) > 0 {
		name := p.args[0]
		if name == "--" {
			p.next()
			return true
		}
		if len(p.args) < 2 || p.args[1] != "on" && p.args[1] != "off" {
			// It names the value instead of the flag.
			value := null
			if len(p.args) > 1 {
				value = p.args[1]
			}
			return p.errorf("flag '%s' for parameter '%s' is not followed by 'on' or 'off'\n", value, p.word)
		}
		c.add(name, p.args[1] == "on")
		p.args = p.args[2:]
	}
	return true
}

// add asks for a feature, or for those that an old flag stands for. The
// service knows whether there is a feature of that name.
func (c *featureChange) add(name string, on bool) {
	e := c.s.main.enc
	for _, o := range oldFlags {
		if name != o.short && name != o.long {
			continue
		}
		for i, n := range c.names {
			if matches(n, o.pattern) {
				putBit(e, n, on)
				c.asked.Set(i)
			}
		}
		return
	}
	putBit(e, name, on)
	if i := slices.Index(c.names, name); i >= 0 {
		c.asked.Set(i)
	}
}

// reply tells how the result differs from what was asked.
func (c *featureChange) reply(m *message) int {
	s := c.s
	if m.cmd() != ethnl.MsgFeaturesSetReply {
		s.errorf("warning: unexpected reply message type %d\n", m.cmd())
		return cbOK
	}
	t := m.genl()
	s.named(t[ethnl.FeaturesHeader])
	if s.name != s.dev {
		s.errorf("warning: unexpected message for device %s\n", s.name)
		return cbOK
	}
	w, a := bitset(t[ethnl.FeaturesWanted]), bitset(t[ethnl.FeaturesActive])
	for _, v := range []ethnl.BitsetView{w, a} {
		if v.Size != len(c.names) || !v.Fits() || v.Mask == nil || v.Value == nil {
			s.errorf("malformed diff info from kernel\n")
			return cbOK
		}
	}
	c.nothing = true
	differs := false
	for i := range c.asked {
		c.nothing = c.nothing && w.Mask[i] == c.asked[i]
		differs = differs || w.Mask[i] != 0 || a.Mask[i]&^c.asked[i] != 0
	}
	if !differs {
		return cbOK
	}
	s.out.print("Actual changes:\n")
	for i, name := range c.names {
		switch {
		case w.Mask.Test(i):
			on := w.Value.Test(i)
			s.out.printf("%s: %s [requested %s]\n", name, onoff(!on), onoff(on))
		case !a.Mask.Test(i):
		case !c.asked.Test(i):
			s.out.printf("%s: %s [not requested]\n", name, onoff(a.Value.Test(i)))
		default:
			s.out.printf("%s: %s\n", name, onoff(a.Value.Test(i)))
		}
	}
	return cbOK
}

// setFeatures is -K. It exits with 1 when nothing could be changed, which
// includes that nothing was asked for.
func setFeatures(s *session) int {
	if s.refused(ethnl.CmdFeaturesSet, false) {
		return unsupported
	}
	names := s.globalStrings(ethnl.SetFeatures, s.main)
	c := &featureChange{s: s, names: names, asked: ethnl.NewBitmap(len(names))}
	s.main.set(ethnl.CmdFeaturesSet, ethnl.FlagCompactBitsets)
	p := s.newParser("-K")
	ok := true
	e := s.main.enc
	e.Nest(ethnl.FeaturesWanted, func() {
		e.Nest(ethnl.BitsetBits, func() { ok = c.words(p) })
	})
	if !ok {
		return failed
	}
	if s.main.send() != nil {
		return 92
	}
	r := s.main.receive(c.reply)
	switch {
	case c.nothing:
		s.errorf("Could not change any device features\n")
		return 1
	case r == 0:
		return 0
	}
	return 92
}
