package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"ipoib/rdma"
)

// jsonFlag is the -j of all commands that list something.
func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Aliases: []string{"j"}, Usage: "print JSON"}
}

// printJSON prints a value as JSON, one line per list element being too long
// to read, so indented.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table prints rows under a header, in columns.
type table struct {
	w *tabwriter.Writer
}

func newTable(out io.Writer, header ...string) *table {
	t := &table{tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)}
	t.row(toAny(header)...)
	return t
}

func toAny(s []string) []any {
	out := make([]any, len(s))
	for i := range s {
		out[i] = s[i]
	}
	return out
}

func (t *table) row(cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		text[i] = fmt.Sprint(c)
		if text[i] == "" {
			text[i] = "-"
		}
	}
	fmt.Fprintln(t.w, strings.Join(text, "\t"))
}

func (t *table) flush() error { return t.w.Flush() }

// yes prints a truth as the driver's debugfs does.
func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// gbps prints a signalling rate in Gb/s.
func gbps(mbps uint32) string {
	if mbps == 0 {
		return "-"
	}
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.3f", float64(mbps)/1000), "0"), ".") + " Gb/s"
}

func lid(v uint16) string {
	if v == 0 {
		return "-"
	}
	return rdma.LID(v).String()
}

func qpn(v uint32) string {
	if v == 0 {
		return "-"
	}
	return rdma.QPN(v).String()
}

// colonHex prints a link-layer address as ip does.
func colonHex(b []byte) string {
	parts := make([]string, len(b))
	for i, v := range b {
		parts[i] = fmt.Sprintf("%02x", v)
	}
	return strings.Join(parts, ":")
}
