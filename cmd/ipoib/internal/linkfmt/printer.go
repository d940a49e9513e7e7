package linkfmt

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Options are the options of ip that change what is printed.
type Options struct {
	// Details is -d; Stats counts the -s.
	Details bool
	Stats   int
	// Human is -h, IEC -iec: numbers with prefixes.
	Human, IEC bool
	// OneLine is -o, Brief -br, JSON -j, Pretty -p, Numeric -N.
	OneLine, Brief, JSON, Pretty, Numeric bool
	// Color switches colours on, for a dark background if Dark is set.
	Color, Dark bool
}

// Names resolves numbers that stand in link messages.
type Names interface {
	// Ifname returns the name of the link ifindex, "if%d" if it has none.
	Ifname(ifindex uint32) string
	// Flags returns the flags of a link, as far as known.
	Flags(ifindex uint32) uint32
	// NSID returns the name of a network namespace by its id, "" for none.
	NSID(id int32) string
	// Group returns the name of a link group, "" for none.
	Group(n uint32) string
}

// Printer prints links. Output is buffered: see [Printer.Flush].
type Printer struct {
	w     *bufio.Writer
	o     Options
	names Names
	// sl separates the lines of one link: _SL_ of iproute2.
	sl string
	// json is not nil between BeginList and EndList with Options.JSON.
	json *jsonWriter
}

// New returns a printer to w.
func New(w io.Writer, o Options, names Names) *Printer {
	p := &Printer{w: bufio.NewWriterSize(w, 64<<10), o: o, names: names, sl: "\n"}
	if o.OneLine {
		p.sl = "\\"
	}
	return p
}

// Flush writes what is buffered.
func (p *Printer) Flush() error { return p.w.Flush() }

// BeginList starts the output of a command: the JSON array, if there is one
// (new_json_obj).
func (p *Printer) BeginList() {
	if p.o.JSON {
		p.json = &jsonWriter{w: p.w, pretty: p.o.Pretty}
		p.json.beginArray()
	}
}

// EndList ends what BeginList began and flushes.
func (p *Printer) EndList() {
	if p.json != nil {
		p.json.endArray()
		_ = p.w.WriteByte('\n')
		p.json = nil
	}
	_ = p.w.Flush()
}

// BeginObject starts what is printed of one link in a list.
func (p *Printer) BeginObject() { p.object("") }

// EndObject ends what BeginObject started.
func (p *Printer) EndObject() { p.endObject() }

// Text prints text that is in no JSON.
func (p *Printer) Text(s string) {
	if p.json == nil {
		_, _ = p.w.WriteString(s)
	}
}

func (p *Printer) object(name string) {
	if p.json == nil {
		return
	}
	if name != "" {
		p.json.name(name)
	}
	p.json.begin('{')
}

func (p *Printer) endObject() {
	if p.json != nil {
		p.json.end('}')
	}
}

// array starts an array: named key in JSON, or the text otherwise.
func (p *Printer) array(key, text string) {
	if p.json == nil {
		_, _ = p.w.WriteString(text)
		return
	}
	p.json.name(key)
	p.json.beginArray()
}

func (p *Printer) endArray(text string) {
	if p.json == nil {
		_, _ = p.w.WriteString(text)
		return
	}
	p.json.endArray()
}

// nl separates the lines of a link.
func (p *Printer) nl() { p.Text(p.sl) }

// str prints a string: the member key in JSON, otherwise format, which has one
// %s. An empty key is an element of an array, an empty format is for JSON only.
func (p *Printer) str(key, format, s string) { p.colored(noColor, key, format, s) }

func (p *Printer) colored(c color, key, format, s string) {
	if p.json != nil {
		if key != "" {
			p.json.name(key)
		}
		p.json.str(s)
		return
	}
	if format == "" {
		return
	}
	code := c.code(p.o)
	if code != "" {
		_, _ = p.w.WriteString(code)
	}
	before, after, _ := strings.Cut(format, "%s")
	_, _ = p.w.WriteString(before)
	_, _ = p.w.WriteString(s)
	_, _ = p.w.WriteString(after)
	if code != "" {
		_, _ = p.w.WriteString(colorClear)
	}
}

// padded is colored with a field width in the text form.
func (p *Printer) padded(c color, key string, width int, s string) {
	if p.json == nil {
		s = fmt.Sprintf("%-*s ", width, s)
	}
	p.colored(c, key, "%s", s)
}

// num prints a number; format has one %d.
func (p *Printer) num(key, format string, v int64) { p.raw(key, format, strconv.FormatInt(v, 10)) }

func (p *Printer) raw(key, format, v string) {
	if p.json != nil {
		if key != "" {
			p.json.name(key)
		}
		p.json.value(v)
		return
	}
	before, after, _ := strings.Cut(format, "%d")
	_, _ = p.w.WriteString(before)
	_, _ = p.w.WriteString(v)
	_, _ = p.w.WriteString(after)
}

// u32 is num of an attribute that may be absent.
func (p *Printer) u32(key, format string, v *uint32) {
	if v != nil {
		p.num(key, format, int64(*v))
	}
}

// flag prints a boolean member, or the text of a true one.
func (p *Printer) flag(key, text string, v bool) {
	if p.json != nil {
		p.json.name(key)
		p.json.value(strconv.FormatBool(v))
		return
	}
	if v {
		_, _ = p.w.WriteString(text)
	}
}

// onOff prints a boolean member, or "on" or "off".
func (p *Printer) onOff(key, format string, v bool) {
	if p.json != nil {
		p.flag(key, "", v)
		return
	}
	s := "off"
	if v {
		s = "on"
	}
	p.str(key, format, s)
}

// hex prints a number as hexadecimal text, in JSON too (print_0xhex).
func (p *Printer) hex(key, format string, v uint64) {
	s := "0"
	if v != 0 {
		s = "0x" + strconv.FormatUint(v, 16)
	}
	p.str(key, format, s)
}
