// Package capture writes frames of the fabric to pcapng files.
//
// The link type is ERF (197) with InfiniBand records: Wireshark and tshark
// decode those without any preference, which they do not with
// LINKTYPE_INFINIBAND (247).
package capture

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// LinkTypeERF is LINKTYPE_ERF of the pcap project.
const LinkTypeERF = layers.LinkType(197)

// Layout of an ERF record header (the Endace format).
const (
	erfHeaderLen      = 16
	erfTypeInfiniBand = 21
	erfFlagVaryingLen = 0x04
)

// maxFrame is the largest frame of InfiniBand: an 11-bit PktLen in words, and
// the VCRC.
const maxFrame = 2047*4 + 2

// Writer writes one capture of one port.
type Writer struct {
	ng  *pcapgo.NgWriter
	buf []byte
}

// NewWriter writes the head of a file. port names where the frames come from,
// program what writes it.
func NewWriter(w io.Writer, port, program string) (*Writer, error) {
	ng, err := pcapgo.NewNgWriterInterface(w, pcapgo.NgInterface{
		Name: port, LinkType: LinkTypeERF, SnapLength: 0, TimestampResolution: 9,
	}, pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{Application: program}})
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	return &Writer{ng: ng}, nil
}

// WriteFrame writes one frame, LRH to VCRC.
func (w *Writer) WriteFrame(t time.Time, frame []byte) error {
	if len(frame) > maxFrame {
		return fmt.Errorf("capture: a frame of %d bytes", len(frame))
	}
	w.buf = appendERF(w.buf[:0], t, frame)
	n := len(w.buf)
	err := w.ng.WritePacket(gopacket.CaptureInfo{Timestamp: t, CaptureLength: n, Length: n}, w.buf)
	if err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	return nil
}

// Flush writes what is buffered, so that a reader at the other end of a pipe
// sees it.
func (w *Writer) Flush() error {
	if err := w.ng.Flush(); err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	return nil
}

// appendERF appends a frame as an ERF record.
func appendERF(b []byte, t time.Time, frame []byte) []byte {
	// 32.32 fixed point, little endian.
	frac := uint64(t.Nanosecond()) << 32 / uint64(time.Second)
	b = binary.LittleEndian.AppendUint64(b, uint64(t.Unix())<<32|frac)
	b = append(b, erfTypeInfiniBand, erfFlagVaryingLen)
	b = binary.BigEndian.AppendUint16(b, uint16(erfHeaderLen+len(frame)))
	b = binary.BigEndian.AppendUint16(b, 0) // loss counter
	b = binary.BigEndian.AppendUint16(b, uint16(len(frame)))
	return append(b, frame...)
}
