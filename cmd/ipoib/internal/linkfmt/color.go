package linkfmt

import "ipoib/nl/rtlink"

// color is what a colour marks (lib/color.c: enum color_attr).
type color uint8

const (
	noColor color = iota
	ifnameColor
	macColor
	upColor
	downColor
)

const colorClear = "\x1b[0m"

// code returns the escape sequence, "" for none.
func (c color) code(o Options) string {
	if !o.Color || c == noColor {
		return ""
	}
	digit := [...]string{ifnameColor: "6", macColor: "3", upColor: "2", downColor: "1"}[c]
	if o.Dark {
		return "\x1b[1;3" + digit + "m"
	}
	return "\x1b[3" + digit + "m"
}

func operstateColor(s uint8) color {
	switch s {
	case rtlink.OperUp:
		return upColor
	case rtlink.OperDown:
		return downColor
	}
	return noColor
}
