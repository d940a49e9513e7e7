package linkfmt

import "bufio"

// jsonWriter writes JSON with the spacing of iproute2 (lib/json_writer.c).
// Its strings are not escaped beyond what that writer escapes.
type jsonWriter struct {
	w      *bufio.Writer
	pretty bool
	depth  int
	// sep is whether a comma is due before the next element.
	sep bool
}

// eol starts a new line in the pretty form.
func (j *jsonWriter) eol() {
	if !j.pretty {
		return
	}
	_ = j.w.WriteByte('\n')
	for range j.depth {
		_, _ = j.w.WriteString("    ")
	}
}

// element separates an element from the one before.
func (j *jsonWriter) element() {
	if j.sep {
		_ = j.w.WriteByte(',')
	}
	j.sep = true
}

func (j *jsonWriter) begin(c byte) {
	j.element()
	_ = j.w.WriteByte(c)
	j.depth++
	j.sep = false
}

func (j *jsonWriter) end(c byte) {
	j.depth--
	if j.sep {
		j.eol()
	}
	_ = j.w.WriteByte(c)
	j.sep = true
}

func (j *jsonWriter) beginArray() {
	j.begin('[')
	if j.pretty {
		_ = j.w.WriteByte(' ')
	}
}

func (j *jsonWriter) endArray() {
	if j.pretty && j.sep {
		_ = j.w.WriteByte(' ')
	}
	j.sep = false
	j.end(']')
}

func (j *jsonWriter) name(s string) {
	j.element()
	j.eol()
	j.sep = false
	j.quote(s)
	_ = j.w.WriteByte(':')
	if j.pretty {
		_ = j.w.WriteByte(' ')
	}
}

// value writes a value that is JSON already.
func (j *jsonWriter) value(s string) {
	j.element()
	_, _ = j.w.WriteString(s)
}

func (j *jsonWriter) str(s string) {
	j.element()
	j.quote(s)
}

var jsonEscapes = map[byte]string{
	'\t': `\t`, '\n': `\n`, '\r': `\r`, '\f': `\f`, '\b': `\b`, '\\': `\\`, '"': `\"`,
}

func (j *jsonWriter) quote(s string) {
	_ = j.w.WriteByte('"')
	for i := range len(s) {
		if e, ok := jsonEscapes[s[i]]; ok {
			_, _ = j.w.WriteString(e)
			continue
		}
		_ = j.w.WriteByte(s[i])
	}
	_ = j.w.WriteByte('"')
}
