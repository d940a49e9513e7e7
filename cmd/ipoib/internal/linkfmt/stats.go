package linkfmt

import (
	"fmt"
	"strconv"

	"ipoib/nl/rtlink"
)

// stats prints the counters (ip/ipaddress.c: print_stats64).
func (p *Printer) stats(l *rtlink.Link) {
	s, what := l.Stats64, "stats64"
	if s == nil {
		s, what = l.Stats32, "stats"
	}
	switch {
	case s == nil:
	case p.json != nil:
		p.object(what)
		p.statsJSON(s, l.CarrierChanges)
		p.endObject()
	default:
		p.statsText(s, l.CarrierChanges)
	}
}

// counter is a named counter; always prints it also when it is 0.
type counter struct {
	key    string
	v      uint64
	always bool
}

func (p *Printer) counters(name string, list []counter) {
	p.object(name)
	for _, c := range list {
		if c.always || c.v != 0 {
			p.raw(c.key, "", strconv.FormatUint(c.v, 10))
		}
	}
	p.endObject()
}

func (p *Printer) statsJSON(s *rtlink.Stats, changes *uint32) {
	rx := []counter{
		{"bytes", s.RxBytes, true}, {"packets", s.RxPackets, true}, {"errors", s.RxErrors, true},
		{"dropped", s.RxDropped, true}, {"over_errors", s.RxOverErrors, true}, {"multicast", s.Multicast, true},
		{"compressed", s.RxCompressed, false},
	}
	tx := []counter{
		{"bytes", s.TxBytes, true}, {"packets", s.TxPackets, true}, {"errors", s.TxErrors, true},
		{"dropped", s.TxDropped, true}, {"carrier_errors", s.TxCarrierErrors, true},
		{"collisions", s.Collisions, true}, {"compressed", s.TxCompressed, false},
	}
	if p.o.Stats > 1 {
		rx = append(rx, []counter{
			{"length_errors", s.RxLengthErrors, true}, {"crc_errors", s.RxCRCErrors, true},
			{"frame_errors", s.RxFrameErrors, true}, {"fifo_errors", s.RxFIFOErrors, true},
			{"missed_errors", s.RxMissedErrors, true}, {"nohandler", s.RxNoHandler, false},
			{"otherhost", s.RxOtherhostDropped, false},
		}...)
		tx = append(tx, []counter{
			{"aborted_errors", s.TxAbortedErrors, true}, {"fifo_errors", s.TxFIFOErrors, true},
			{"window_errors", s.TxWindowErrors, true}, {"heartbeat_errors", s.TxHeartbeatErrors, true},
		}...)
		if changes != nil {
			tx = append(tx, counter{"carrier_changes", uint64(*changes), true})
		}
	}
	p.counters("rx", rx)
	p.counters("tx", tx)
}

// column is a counter with its title; an optional one is left out when it is
// 0, its title is then blank.
type column struct {
	title    string
	v        uint64
	optional bool
}

// widths are those of the columns: title or the largest number.
type widths [8]int

func (w *widths) fit(human bool, cols ...uint64) {
	if human {
		return
	}
	for i, v := range cols {
		w[i] = max(w[i], len(strconv.FormatUint(v, 10)))
	}
}

func (p *Printer) statsText(s *rtlink.Stats, changes *uint32) {
	var cc uint64
	if changes != nil {
		cc = uint64(*changes)
	}
	w := widths{10, 7, 6, 7, 7, 7, 10, 9}
	more := p.o.Stats > 1
	w.fit(p.o.Human, s.RxBytes, s.RxPackets, s.RxErrors, s.RxDropped, s.RxMissedErrors, s.Multicast, s.RxCompressed)
	w.fit(p.o.Human, s.TxBytes, s.TxPackets, s.TxErrors, s.TxDropped, s.TxCarrierErrors, s.Collisions, s.TxCompressed)
	if more {
		w.fit(p.o.Human, 0, s.RxLengthErrors, s.RxCRCErrors, s.RxFrameErrors, s.RxFIFOErrors, s.RxOverErrors,
			s.RxNoHandler, s.RxOtherhostDropped)
		w.fit(p.o.Human, 0, 0, s.TxAbortedErrors, s.TxFIFOErrors, s.TxWindowErrors, s.TxHeartbeatErrors, cc)
	}
	p.row("RX", &w, []column{
		{"bytes", s.RxBytes, false}, {"packets", s.RxPackets, false}, {"errors", s.RxErrors, false},
		{"dropped", s.RxDropped, false}, {"missed", s.RxMissedErrors, false}, {"mcast", s.Multicast, false},
		{"compressed", s.RxCompressed, true},
	})
	if more {
		p.nl()
		p.errorTitles("RX", &w, "length", "crc", "frame", "fifo", "overrun")
		p.optionalTitle(w[6], " nohandler", s.RxNoHandler)
		p.optionalTitle(w[7], " otherhost", s.RxOtherhostDropped)
		p.nl()
		p.Text(fmt.Sprintf("%*s", w[0]+5, ""))
		for i, v := range []uint64{s.RxLengthErrors, s.RxCRCErrors, s.RxFrameErrors, s.RxFIFOErrors, s.RxOverErrors} {
			p.count(w[i+1], v)
		}
		if s.RxNoHandler != 0 {
			p.count(w[6], s.RxNoHandler)
		}
		if s.RxOtherhostDropped != 0 {
			p.count(w[7], s.RxOtherhostDropped)
		}
	}
	p.nl()
	p.row("TX", &w, []column{
		{"bytes", s.TxBytes, false}, {"packets", s.TxPackets, false}, {"errors", s.TxErrors, false},
		{"dropped", s.TxDropped, false}, {"carrier", s.TxCarrierErrors, false}, {"collsns", s.Collisions, false},
		{"compressed", s.TxCompressed, true},
	})
	if more {
		p.nl()
		last := ""
		if changes != nil {
			last = "transns"
		}
		p.errorTitles("TX", &w, "aborted", "fifo", "window", "heartbt", last)
		p.nl()
		p.Text(fmt.Sprintf("%*s", w[0]+5, ""))
		for i, v := range []uint64{s.TxAbortedErrors, s.TxFIFOErrors, s.TxWindowErrors, s.TxHeartbeatErrors} {
			p.count(w[i+1], v)
		}
		if changes != nil {
			p.count(w[5], cc)
		}
	}
}

// row prints titles and, below, numbers.
func (p *Printer) row(dir string, w *widths, cols []column) {
	p.Text(fmt.Sprintf("    %s: %*s", dir, w[0]-4, cols[0].title))
	for i, c := range cols[1:] {
		if c.optional && c.v == 0 {
			c.title = ""
		}
		p.Text(fmt.Sprintf(" %*s", w[i+1], c.title))
	}
	p.nl()
	p.Text("    ")
	for i, c := range cols {
		if !c.optional || c.v != 0 {
			p.count(w[i], c.v)
		}
	}
}

func (p *Printer) errorTitles(dir string, w *widths, titles ...string) {
	p.Text(fmt.Sprintf("    %s errors:%*s", dir, w[0]-10, ""))
	for i, t := range titles {
		p.Text(fmt.Sprintf(" %*s", w[i+1], t))
	}
}

func (p *Printer) optionalTitle(width int, title string, v uint64) {
	if v != 0 {
		p.Text(fmt.Sprintf("%*s", width+1, title))
	}
}

// count prints a number in a column, with a prefix if asked for
// (ip/ipaddress.c: print_num).
func (p *Printer) count(width int, v uint64) {
	base := uint64(1000)
	suffix := ""
	if p.o.IEC {
		base, suffix = 1024, "i"
	}
	if !p.o.Human || v < base {
		p.Text(fmt.Sprintf("%*d ", width, v))
		return
	}
	const prefixes = "kMGTPE"
	pow, prefix := uint64(1), 0
	for {
		pow *= base
		if v/base < pow || prefix == len(prefixes)-1 {
			break
		}
		prefix++
	}
	precision := 2
	for digits := uint64(1); precision > 0; precision-- {
		digits *= 10
		if v/pow < digits {
			break
		}
	}
	text := fmt.Sprintf("%.*f%c%s", precision, float64(v)/float64(pow), prefixes[prefix], suffix)
	p.Text(fmt.Sprintf("%*s ", width, text))
}
