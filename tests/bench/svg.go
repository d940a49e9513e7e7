package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"
)

// A figure is an SVG file: panels below each other.
type figure struct {
	title, subtitle string
	panels          []panel
}

// A panel draws itself at a height of the figure.
type panel interface {
	height() float64
	draw(c *canvas, top float64)
}

// Sizes in pixels.
const (
	figureWidth = 760.0
	margin      = 24.0
	headHeight  = 64.0
	labelWidth  = 210.0
	valueWidth  = 130.0
	barHeight   = 16.0
	barPitch    = 24.0
	lineHeight  = 220.0
	axisWidth   = 70.0
	legendWidth = 220.0
)

// colours tell series apart for the colour-blind as well (Okabe and Ito).
var colours = []string{"#555555", "#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#0072b2"}

// canvas collects SVG elements.
type canvas struct{ text strings.Builder }

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes everything
	return b.String()
}

func (c *canvas) rect(x, y, w, h float64, fill string) {
	fmt.Fprintf(&c.text, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n", x, y, w, h, fill)
}

func (c *canvas) line(x1, y1, x2, y2 float64, colour string) {
	fmt.Fprintf(&c.text, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\"/>\n", x1, y1, x2, y2, colour)
}

// write puts text at a place; anchor is start, middle or end.
func (c *canvas) write(x, y float64, anchor, style, s string) {
	fmt.Fprintf(&c.text, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>%s</text>\n", x, y, anchor, style, escape(s))
}

const (
	plain = ""
	bold  = ` font-weight="bold"`
	grey  = ` fill="#666666"`
	large = ` font-size="18" font-weight="bold"`
)

// svg writes the figure.
func (f figure) svg(w io.Writer) error {
	c := new(canvas)
	total := headHeight + margin
	for _, p := range f.panels {
		total += p.height()
	}
	fmt.Fprintf(&c.text, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\""+
		" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222222\">\n", figureWidth, total, figureWidth, total)
	c.rect(0, 0, figureWidth, total, "#ffffff")
	c.write(margin, 30, "start", large, f.title)
	c.write(margin, 50, "start", grey, f.subtitle)
	top := headHeight
	for _, p := range f.panels {
		p.draw(c, top)
		top += p.height()
	}
	c.text.WriteString("</svg>\n")
	_, err := io.WriteString(w, c.text.String())
	return err
}

// bars is a panel with a horizontal bar for each row, and a whisker over the
// range of its samples.
type bars struct {
	title string
	rows  []bar
}

type bar struct {
	label  string
	value  Summary
	note   string
	colour string
}

func (b bars) height() float64 { return 34 + barPitch*float64(len(b.rows)) }

func (b bars) draw(c *canvas, top float64) {
	c.write(margin, top+18, "start", bold, b.title)
	most := 0.0
	for _, r := range b.rows {
		most = max(most, r.value.Max)
	}
	if most == 0 {
		most = 1
	}
	left, width := margin+labelWidth, figureWidth-2*margin-labelWidth-valueWidth
	for i, r := range b.rows {
		y := top + 28 + barPitch*float64(i)
		middle := y + barHeight/2
		c.write(left-8, middle+4, "end", plain, r.label)
		c.rect(left, y, width*r.value.Median/most, barHeight, r.colour)
		from, to := left+width*r.value.Min/most, left+width*r.value.Max/most
		c.line(from, middle, to, middle, "#000000")
		c.line(from, middle-4, from, middle+4, "#000000")
		c.line(to, middle-4, to, middle+4, "#000000")
		c.write(left+width+8, middle+4, "start", plain, number(r.value.Median)+r.note)
	}
}

// lines is a panel with values over evenly placed steps, such as powers.
type lines struct {
	title, xTitle string
	steps         []string
	series        []series
}

// series is one line; NaN is a step without value.
type series struct {
	name   string
	values []float64
}

func (l lines) height() float64 { return lineHeight + 84 }

func (l lines) draw(c *canvas, top float64) {
	c.write(margin, top+18, "start", bold, l.title)
	s := l.scale()
	left, right := margin+axisWidth, figureWidth-margin-legendWidth
	base := top + 34 + lineHeight
	y := func(v float64) float64 { return base - lineHeight*s.place(v) }
	for _, tick := range s.ticks {
		c.line(left, y(tick), right, y(tick), "#dddddd")
		c.write(left-8, y(tick)+4, "end", plain, number(tick))
	}
	x := func(i int) float64 {
		return left + (right-left)*(float64(i)+0.5)/float64(len(l.steps))
	}
	for i, step := range l.steps {
		c.write(x(i), base+18, "middle", plain, step)
	}
	c.write((left+right)/2, base+36, "middle", grey, l.xTitle)
	for n, one := range l.series {
		colour := colours[(n+len(colours)-1)%len(colours)]
		var points []string
		last := math.NaN()
		for i, v := range one.values {
			if math.IsNaN(v) {
				continue
			}
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(i), y(v)))
			fmt.Fprintf(&c.text, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", x(i), y(v), colour)
			last = v
		}
		fmt.Fprintf(&c.text, "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", strings.Join(points, " "), colour)
		key := top + 44 + 20*float64(n)
		c.rect(right+16, key-9, 10, 10, colour)
		c.write(right+32, key, "start", plain, one.name+", last "+number(last))
	}
}

// scale maps values to 0..1.
type scale struct {
	log      bool
	low, top float64
	ticks    []float64
}

// logSpan is the ratio of values above which the axis is logarithmic.
const logSpan = 50

func (l lines) scale() scale {
	low, high := math.Inf(1), 0.0
	for _, s := range l.series {
		for _, v := range s.values {
			if v > 0 {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	if high == 0 {
		return scale{top: 1, ticks: []float64{0, 1}}
	}
	if high/low > logSpan {
		s := scale{log: true, low: math.Pow(10, math.Floor(math.Log10(low))), top: math.Pow(10, math.Ceil(math.Log10(high)))}
		for t := s.low; t < s.top*1.01; t *= 10 {
			s.ticks = append(s.ticks, t)
		}
		return s
	}
	step := niceStep(high / 5)
	s := scale{top: step * math.Ceil(high/step)}
	for t := 0.0; t < s.top+step/2; t += step {
		s.ticks = append(s.ticks, t)
	}
	return s
}

// niceStep returns the next of 1, 2, 5, 10 ... from a value on.
func niceStep(v float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if v <= m*unit {
			return m * unit
		}
	}
	return 10 * unit
}

func (s scale) place(v float64) float64 {
	if !s.log {
		return v / s.top
	}
	return math.Log(max(v, s.low)/s.low) / math.Log(s.top/s.low)
}
