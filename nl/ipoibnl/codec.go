package ipoibnl

import (
	"fmt"
	"iter"
	"net/netip"
	"reflect"
	"strconv"
	"sync"

	"ipoib/nl"
)

// field is one tagged field of a message struct.
type field struct {
	attr  uint16
	index int
}

var fieldCache sync.Map // reflect.Type -> []field

// fields returns the tagged fields of a struct type. A bad tag is a mistake in
// this package's definitions, so it panics.
func fields(t reflect.Type) []field {
	if f, ok := fieldCache.Load(t); ok {
		return f.([]field)
	}
	var out []field
	for i := range t.NumField() {
		tag := t.Field(i).Tag.Get("nl")
		if tag == "" {
			continue
		}
		n, err := strconv.ParseUint(tag, 10, 14)
		if err != nil || n == 0 {
			panic(fmt.Sprintf("ipoibnl: tag %q of %v.%s", tag, t, t.Field(i).Name))
		}
		out = append(out, field{uint16(n), i})
	}
	fieldCache.Store(t, out)
	return out
}

var addrType = reflect.TypeFor[netip.Addr]()

// Marshal appends the attributes of a message struct, or of a pointer to one.
func Marshal(e *nl.Encoder, v any) {
	marshalStruct(e, reflect.Indirect(reflect.ValueOf(v)))
}

func marshalStruct(e *nl.Encoder, v reflect.Value) {
	for _, f := range fields(v.Type()) {
		marshalField(e, f.attr, v.Field(f.index))
	}
}

func marshalField(e *nl.Encoder, attr uint16, v reflect.Value) {
	if v.IsZero() {
		return
	}
	if v.Type() == addrType {
		e.Put(attr, v.Interface().(netip.Addr).AsSlice())
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		e.Flag(attr)
	case reflect.Uint8:
		e.U8(attr, uint8(v.Uint()))
	case reflect.Uint16:
		e.U16(attr, uint16(v.Uint()))
	case reflect.Uint32:
		e.U32(attr, uint32(v.Uint()))
	case reflect.Uint64:
		e.U64(attr, v.Uint())
	case reflect.Int32:
		e.S32(attr, int32(v.Int()))
	case reflect.String:
		e.String(attr, v.String())
	case reflect.Array:
		b := make([]byte, v.Len())
		reflect.Copy(reflect.ValueOf(b), v)
		e.Put(attr, b)
	case reflect.Struct:
		e.Nest(attr, func() { marshalStruct(e, v) })
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			e.Put(attr, v.Bytes())
			return
		}
		for i := range v.Len() {
			// A zero element still counts.
			if el := v.Index(i); el.Kind() == reflect.Struct {
				e.Nest(attr, func() { marshalStruct(e, el) })
			} else {
				e.String(attr, el.String())
			}
		}
	default:
		panic(fmt.Sprintf("ipoibnl: no encoding for %v", v.Type()))
	}
}

// Unmarshal reads attributes into the message struct that v points to. Unknown
// attributes are ignored; one of the wrong size is an error.
func Unmarshal(b []byte, v any) error {
	return unmarshalStruct(nl.Attr{Data: b}, reflect.ValueOf(v).Elem())
}

// UnmarshalAttrs is Unmarshal for attributes that a policy let pass.
func UnmarshalAttrs(attrs nl.Attrs, v any) error {
	return unmarshalAll(attrs.All(), reflect.ValueOf(v).Elem())
}

func unmarshalStruct(nest nl.Attr, v reflect.Value) error {
	return unmarshalAll(nest.Children(), v)
}

func unmarshalAll(attrs iter.Seq[nl.Attr], v reflect.Value) error {
	byAttr := make(map[uint16]reflect.Value)
	for _, f := range fields(v.Type()) {
		byAttr[f.attr] = v.Field(f.index)
	}
	for a := range attrs {
		dst, ok := byAttr[a.Type]
		if !ok {
			continue
		}
		if err := unmarshalField(a, dst); err != nil {
			return fmt.Errorf("ipoibnl: attribute %d of %v: %w", a.Type, v.Type(), err)
		}
	}
	return nil
}

func unmarshalField(a nl.Attr, v reflect.Value) error {
	size := func(n int) error {
		if len(a.Data) != n {
			return fmt.Errorf("%d bytes, not %d", len(a.Data), n)
		}
		return nil
	}
	if v.Type() == addrType {
		ip, ok := netip.AddrFromSlice(a.Data)
		if !ok {
			return fmt.Errorf("an address of %d bytes", len(a.Data))
		}
		v.Set(reflect.ValueOf(ip))
		return nil
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8:
		v.SetUint(uint64(a.Uint8()))
		return size(1)
	case reflect.Uint16:
		v.SetUint(uint64(a.Uint16()))
		return size(2)
	case reflect.Uint32:
		v.SetUint(uint64(a.Uint32()))
		return size(4)
	case reflect.Uint64:
		v.SetUint(a.Uint64())
		return size(8)
	case reflect.Int32:
		v.SetInt(int64(a.Int32()))
		return size(4)
	case reflect.String:
		v.SetString(a.String())
	case reflect.Array:
		reflect.Copy(v, reflect.ValueOf(a.Data))
		return size(v.Len())
	case reflect.Struct:
		return unmarshalStruct(a, v)
	case reflect.Slice:
		elem := v.Type().Elem()
		switch elem.Kind() {
		case reflect.Uint8:
			v.SetBytes(append([]byte(nil), a.Data...))
		case reflect.String:
			v.Set(reflect.Append(v, reflect.ValueOf(a.String()).Convert(elem)))
		default:
			el := reflect.New(elem).Elem()
			if err := unmarshalStruct(a, el); err != nil {
				return err
			}
			v.Set(reflect.Append(v, el))
		}
	}
	return nil
}

// PolicyOf returns the policy for a request that is a message struct.
func PolicyOf(v any) *nl.Policy {
	return policyOf(reflect.Indirect(reflect.ValueOf(v)).Type())
}

func policyOf(t reflect.Type) *nl.Policy {
	p := new(nl.Policy)
	for _, f := range fields(t) {
		for len(p.Attrs) <= int(f.attr) {
			p.Attrs = append(p.Attrs, nl.AttrPolicy{})
		}
		p.Attrs[f.attr] = attrPolicy(t.Field(f.index).Type)
	}
	return p
}

func attrPolicy(t reflect.Type) nl.AttrPolicy {
	if t == addrType {
		return nl.Binary(16)
	}
	switch t.Kind() {
	case reflect.Bool:
		return nl.Flag()
	case reflect.Uint8:
		return nl.U8()
	case reflect.Uint16:
		return nl.U16()
	case reflect.Uint32:
		return nl.U32()
	case reflect.Uint64:
		return nl.U64()
	case reflect.Int32:
		return nl.S32()
	case reflect.String:
		return nl.NulString(0)
	case reflect.Array:
		return nl.ExactLen(t.Len())
	case reflect.Struct:
		return nl.Nest(policyOf(t))
	case reflect.Slice:
		switch t.Elem().Kind() {
		case reflect.Uint8:
			return nl.Binary(0)
		case reflect.String:
			return nl.NulString(0)
		}
		return nl.Nest(policyOf(t.Elem()))
	}
	panic(fmt.Sprintf("ipoibnl: no policy for %v", t))
}
