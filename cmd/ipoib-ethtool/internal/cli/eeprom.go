package cli

import (
	"ipoib/nl"
	"ipoib/nl/ethnl"
)

// Addresses of a module's EEPROM (SFF-8024, SFF-8472).
const (
	moduleAddress    = 0x50
	maxModuleAddress = 0x7f
	modulePage       = 128 // bytes
)

// eepromPage is a part of a module's EEPROM.
type eepromPage struct{ offset, length, page, bank, address uint32 }

// readEEPROM asks for a part of the EEPROM; code is 0 if it came.
func (s *session) readEEPROM(q eepromPage) (data []byte, code int) {
	if q.address > maxModuleAddress {
		return nil, failed
	}
	s.main.get(ethnl.CmdModuleEEPROMGet, ethnl.ModuleEEPROMHeader, 0)
	e := s.main.enc
	e.U32(ethnl.ModuleEEPROMLength, q.length)
	e.U32(ethnl.ModuleEEPROMOffset, q.offset)
	e.U8(ethnl.ModuleEEPROMPage, uint8(q.page))
	e.U8(ethnl.ModuleEEPROMBank, uint8(q.bank))
	e.U8(ethnl.ModuleEEPROMI2CAddress, uint8(q.address))
	if s.main.send() != nil {
		return nil, failed
	}
	code = s.main.receive(func(m *message) int {
		t := m.genl()
		if !t.has(ethnl.ModuleEEPROMData) {
			return cbError
		}
		data = t[ethnl.ModuleEEPROMData].Data
		if uint64(len(data)) > uint64(q.length) {
			data = data[:q.length]
		}
		return cbOK
	})
	return data, code
}

// hexDump prints bytes with their addresses.
func (s *session) hexDump(b []byte, offset uint32) {
	s.out.print("Offset\t\tValues\n------\t\t------")
	for i, v := range b {
		if i%16 == 0 {
			s.out.printf("\n0x%04x:\t\t", uint32(i)+offset)
		}
		s.out.printf("%02x ", v)
	}
	s.out.print("\n")
}

// getEEPROM is -m. What kind of module it is is not looked at: the first page
// is dumped, which is what ethtool does with a module that it does not know.
func getEEPROM(s *session) int {
	if s.refused(ethnl.CmdModuleEEPROMGet, false) {
		return unsupported
	}
	var hex, raw uint32
	var q eepromPage
	params := []param{
		{word: "hex", words: 1, parse: onOff, dest: &hex},
		{word: "raw", words: 1, parse: onOff, dest: &raw},
		{word: "offset", words: 1, parse: word32, dest: &q.offset},
		{word: "length", words: 1, parse: word32, dest: &q.length},
		{word: "page", words: 1, parse: word32, dest: &q.page},
		{word: "bank", words: 1, parse: word32, dest: &q.bank},
		{word: "i2c", words: 1, parse: word32, dest: &q.address},
	}
	if !s.newParser("-m").run(params, func(uint8) *nl.Encoder { return nil }) {
		return failed
	}
	if hex != 0 && raw != 0 {
		s.errorf("Hex and raw dump cannot be specified together\n")
		return failed
	}
	if (hex != 0 || raw != 0) && q.page == 0 && q.bank == 0 && q.address == 0 {
		// The whole EEPROM comes in the old way only.
		s.fallback = true
		return unsupported
	}
	whole := hex == 0 && raw == 0 && q == (eepromPage{address: q.address})
	if q.address == 0 {
		q.address = moduleAddress
	}
	if whole {
		// The first byte says what kind of module it is.
		probe := eepromPage{length: 1, address: moduleAddress}
		if _, code := s.readEEPROM(probe); code != 0 {
			return code
		}
		q = eepromPage{address: moduleAddress}
	}
	if q.length == 0 {
		q.length = modulePage
	}
	if q.page != 0 && q.offset == 0 {
		q.offset = modulePage
	}
	data, code := s.readEEPROM(q)
	switch {
	case code != 0:
	case raw != 0:
		s.out.print(string(data))
	default:
		s.hexDump(data, q.offset)
	}
	return code
}
