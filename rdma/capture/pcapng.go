package capture

import (
	"bufio"
	"encoding/binary"
	"io"
	"time"
)

// Blocks and options of pcapng (draft-ietf-opsawg-pcapng sections 4 and 3.5).
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 6

	byteOrderMagic = 0x1a2b3c4d

	optEnd         = 0
	optName        = 2 // if_name
	optResolution  = 9 // if_tsresol
	optApplication = 4 // shb_userappl

	nanoseconds = 9 // of if_tsresol: 10 to the power of -9
)

// LinkTypeERF is LINKTYPE_ERF of the pcap project.
const LinkTypeERF = 197

// file writes a section of one interface.
type file struct {
	w   *bufio.Writer
	buf []byte // of a block
}

// newFile writes the head of a section: what writes it, and the interface.
func newFile(w io.Writer, ifname, program string) (*file, error) {
	f := &file{w: bufio.NewWriter(w)}
	f.begin(blockSection)
	f.put32(byteOrderMagic)
	f.put32(1)                                                  // version 1.0
	f.buf = binary.LittleEndian.AppendUint64(f.buf, ^uint64(0)) // of unknown length
	f.option(optApplication, []byte(program))
	f.option(optEnd, nil)
	if err := f.end(); err != nil {
		return nil, err
	}
	f.begin(blockInterface)
	f.put32(LinkTypeERF)
	f.put32(0) // packets are whole
	f.option(optName, []byte(ifname))
	f.option(optResolution, []byte{nanoseconds})
	f.option(optEnd, nil)
	return f, f.end()
}

// packet writes an enhanced packet block.
func (f *file) packet(t time.Time, b []byte) error {
	ns := uint64(t.UnixNano())
	f.begin(blockPacket)
	f.put32(0) // the interface
	f.put32(uint32(ns >> 32))
	f.put32(uint32(ns))
	f.put32(uint32(len(b)))
	f.put32(uint32(len(b)))
	f.padded(b)
	return f.end()
}

func (f *file) put32(v uint32) { f.buf = binary.LittleEndian.AppendUint32(f.buf, v) }

// padded appends b, to a multiple of 32 bits.
func (f *file) padded(b []byte) {
	f.buf = append(f.buf, b...)
	for len(f.buf)%4 != 0 {
		f.buf = append(f.buf, 0)
	}
}

func (f *file) option(code uint16, value []byte) {
	value = value[:min(len(value), 1<<16-1)]
	f.put32(uint32(code) | uint32(len(value))<<16)
	f.padded(value)
}

func (f *file) begin(typ uint32) {
	f.buf = f.buf[:0]
	f.put32(typ)
	f.put32(0)
}

// end writes the block with its length, which is in front and behind.
func (f *file) end() error {
	n := uint32(len(f.buf) + 4)
	binary.LittleEndian.PutUint32(f.buf[4:], n)
	f.put32(n)
	_, err := f.w.Write(f.buf)
	return err
}
