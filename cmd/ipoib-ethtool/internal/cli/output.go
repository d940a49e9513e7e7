package cli

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
)

// output is standard output: text, or a JSON document in the layout of
// ethtool's writer. It is buffered as stdio does it, so that its order with
// standard error is the same in a pipe.
type output struct {
	w    *bufio.Writer
	line bool // flush at every line
	// json is set between startJSON and endJSON.
	json  bool
	depth int
	sep   bool // a comma is due before the next value
}

// stdioBuffer is the size of stdio's buffer for a pipe, in bytes.
const stdioBuffer = 4096

func newOutput(w io.Writer, line bool) *output {
	return &output{w: bufio.NewWriterSize(w, stdioBuffer), line: line}
}

func (o *output) flush() { _ = o.w.Flush() }

// printf writes text, whether JSON is on or not.
func (o *output) printf(format string, args ...any) {
	fmt.Fprintf(o.w, format, args...)
	o.wrote()
}

func (o *output) print(s string) {
	_, _ = o.w.WriteString(s)
	o.wrote()
}

func (o *output) wrote() {
	if o.line {
		o.flush()
	}
}

// startJSON begins the document, if on.
func (o *output) startJSON(on bool) {
	if on {
		o.json = true
		o.begin('[')
		o.print(" ")
	}
}

// endJSON ends it.
func (o *output) endJSON() {
	if !o.json {
		return
	}
	o.endArray()
	o.print("\n")
	o.json = false
}

func (o *output) comma() {
	if o.sep {
		o.print(",")
	}
	o.sep = true
}

func (o *output) newline() {
	o.print("\n")
	for range o.depth {
		o.print("    ")
	}
}

func (o *output) begin(c byte) {
	o.comma()
	_ = o.w.WriteByte(c)
	o.depth++
	o.sep = false
}

func (o *output) end(c byte) {
	o.depth--
	if o.sep {
		o.newline()
	}
	_ = o.w.WriteByte(c)
	o.sep = true
}

func (o *output) endArray() {
	if o.sep {
		o.print(" ")
	}
	o.sep = false
	o.end(']')
}

// name writes a member's name.
func (o *output) name(key string) {
	o.comma()
	o.newline()
	o.sep = false
	o.quote(key)
	o.print(": ")
}

// quote writes a string with the escapes of ethtool's writer; the one for the
// single quote is not JSON, but that is what it writes.
func (o *output) quote(s string) {
	_ = o.w.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '\t':
			o.print(`\t`)
		case '\n':
			o.print(`\n`)
		case '\r':
			o.print(`\r`)
		case '\f':
			o.print(`\f`)
		case '\b':
			o.print(`\b`)
		case '\\', '"', '\'':
			_ = o.w.WriteByte('\\')
			_ = o.w.WriteByte(c)
		default:
			_ = o.w.WriteByte(c)
		}
	}
	o.print(`"`)
}

// raw writes a JSON value as a member, or as an element if key is empty.
func (o *output) raw(key, value string) {
	if key != "" {
		o.name(key)
	}
	o.comma()
	o.print(value)
}

// object opens a JSON object, as a member if key is not empty; without JSON
// nothing happens.
func (o *output) object(key string) {
	if !o.json {
		return
	}
	if key != "" {
		o.name(key)
	}
	o.begin('{')
}

func (o *output) endObject() {
	if o.json {
		o.end('}')
	}
}

// array opens a JSON array, or writes text.
func (o *output) array(key, text string) {
	if !o.json {
		o.print(text)
		return
	}
	if key != "" {
		o.name(key)
	}
	o.begin('[')
	o.print(" ")
}

func (o *output) closeArray(text string) {
	if !o.json {
		o.print(text)
		return
	}
	o.endArray()
}

// str writes a string member, or text by format.
func (o *output) str(key, format, v string) {
	if !o.json {
		o.printf(format, v)
		return
	}
	if key != "" {
		o.name(key)
	}
	o.comma()
	o.quote(v)
}

// uint writes a number member, or text by format.
func (o *output) uint(key, format string, v uint64) {
	if !o.json {
		o.printf(format, v)
		return
	}
	o.raw(key, strconv.FormatUint(v, 10))
}

// blank writes an empty line, without JSON only.
func (o *output) blank() {
	if !o.json {
		o.print("\n")
	}
}
