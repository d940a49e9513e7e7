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
)

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
	file *file
	buf  []byte
}

// NewWriter writes the head of a file. port names where the frames come from,
// program what writes it.
func NewWriter(w io.Writer, port, program string) (*Writer, error) {
	f, err := newFile(w, port, program)
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	return &Writer{file: f}, nil
}

// WriteFrame writes one frame, LRH to VCRC.
func (w *Writer) WriteFrame(t time.Time, frame []byte) error {
	if len(frame) > maxFrame {
		return fmt.Errorf("capture: a frame of %d bytes", len(frame))
	}
	w.buf = appendERF(w.buf[:0], t, frame)
	if err := w.file.packet(t, w.buf); err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	return nil
}

// Flush writes what is buffered, so that a reader at the other end of a pipe
// sees it.
func (w *Writer) Flush() error {
	if err := w.file.w.Flush(); err != nil {
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
