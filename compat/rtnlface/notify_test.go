package rtnlface

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"

	"ipoib/datapath"
	"ipoib/nl"
	"ipoib/nl/nltest"
	"ipoib/nl/rtlink"
)

// texts prints events.
func texts(list []event) (out []string) {
	for _, e := range list {
		out = append(out, e.String())
	}
	return out
}

// TestNotify walks the table of notifications: what members of RTNLGRP_LINK
// hear of each change.
func TestNotify(t *testing.T) {
	inWorld(t, func(w *world) {
		ev := w.listen()
		all := uint32(rtlink.ChangeAll)
		expect := func(what string, want ...string) []event {
			t.Helper()
			got := ev.read()
			if d := cmp.Diff(want, texts(got)); d != "" {
				t.Errorf("%s (-want +got):\n%s", what, d)
			}
			for _, e := range got {
				if e.Header.PID != 0 || e.Header.Sequence != 0 || e.Header.Flags != 0 {
					t.Errorf("%s: header %+v", what, e.Header)
				}
			}
			return got
		}
		expect("nothing")
		ok := func(a answer) {
			t.Helper()
			if a.errno != 0 {
				t.Fatal(a)
			}
		}
		ok(w.add("i1", 0x8001, nil))
		got := expect("a new link", fmt.Sprintf("16 i1 change %#x", all))
		i1 := w.drv.ByName(w.id(), "i1")
		h := header{index: int32(i1.Info().Ifindex)}
		if len(got) == 1 && (got[0].Index != h.index || len(got[0].Address) != 20 || got[0].Qdisc == "") {
			t.Errorf("new link %+v", got[0].Link)
		}
		u32 := func(t uint16, v uint32) func(*nl.Encoder) { return func(e *nl.Encoder) { e.U32(t, v) } }
		ok(w.ask(rtlink.NewLink, 0, h, u32(rtlink.AttrMTU, 1500)))
		expect("mtu", "16 i1 change 0x0")
		ok(w.ask(rtlink.NewLink, 0, h, u32(rtlink.AttrMTU, 1500)))
		expect("the same mtu")
		ok(w.ask(rtlink.NewLink, 0, h, func(e *nl.Encoder) { kind(e, rtlink.IPoIB{Umcast: new(uint16(1))}) }))
		expect("kind data", "16 i1 change 0x0")
		ok(w.ask(rtlink.NewLink, 0, h, func(e *nl.Encoder) { kind(e, rtlink.IPoIB{Umcast: new(uint16(1))}) }))
		expect("the same kind data", "16 i1 change 0x0")
		ok(w.ask(rtlink.NewLink, 0, h, u32(rtlink.AttrGroup, 3)))
		if got := expect("group", "16 i1 change 0x0"); len(got) == 1 && *got[0].Group != 3 {
			t.Errorf("group %d", *got[0].Group)
		}
		ok(w.ask(rtlink.NewLink, 0, h, func(e *nl.Encoder) { e.String(rtlink.AttrIfname, "j1") }))
		expect("rename", "16 j1 change 0x0")
		ok(w.ask(rtlink.NewLink, 0, header{index: h.index, flags: 1, change: 1}, nil))
		w.settle()
		got = ev.read()
		if len(got) < 2 || got[0].String() != "16 j1 change 0x1" || got[0].Link.Flags&rtlink.FlagLowerUp != 0 {
			t.Errorf("up: %v", texts(got))
		} else if last := got[len(got)-1]; last.Link.Flags&rtlink.FlagLowerUp == 0 || *last.Operstate != rtlink.OperUp || last.Change != 0 {
			t.Errorf("carrier: %v", texts(got))
		}
		ok(w.ask(rtlink.NewLink, 0, header{index: h.index, change: 1}, nil))
		expect("down", "16 j1 change 0x1")
		w.must(i1.SetFeatures(0, datapath.FeatureGRO.Set(), nil))
		expect("features", "16 j1 change 0x0 event 2")
		w.must(i1.SetUmcast(false))
		expect("umcast by another face")
		w.must(i1.SetAlias("x"))
		expect("alias by another face", "16 j1 change 0x0")
		ok(w.ask(rtlink.DelLink, 0, h, nil))
		if got := expect("delete", fmt.Sprintf("17 j1 change %#x", all)); len(got) == 1 && got[0].Qdisc == "" {
			t.Error("the deleted link is told of without the kernel's part")
		}
		// A child made through create_child, and a parent that cannot go.
		c, err := w.drv.CreateChild(w.ib0, 0x8005)
		w.must(err)
		expect("create_child", fmt.Sprintf("16 ib0.8005 change %#x", all))
		w.must(w.drv.DeleteChild(w.ib0, 0x8005))
		expect("delete_child", fmt.Sprintf("17 ib0.8005 change %#x", all))
		_ = c
		ok(w.ask(rtlink.DelLink, 0, header{index: int32(w.ib0.Info().Ifindex)}, nil))
		expect("delete a parent")
	})
}

// TestNotifyMode: a mode change is told as a change of features with the old
// MTU, then as the new MTU (the driver's transcripts).
func TestNotifyMode(t *testing.T) {
	inWorld(t, func(w *world) {
		ev := w.listen()
		before := w.ib0.Info()
		now := before
		now.Mode, now.MTU = datapath.Connected, 65520
		now.Features.Active ^= datapath.FeatureTSO.Set()
		w.face.onChange(datapath.Change{Interface: w.ib0, Old: &before, New: &now})
		got := ev.read()
		if len(got) != 2 || got[0].Event == nil || *got[0].Event != rtlink.EventFeatures || *got[0].MTU != uint32(before.MTU) ||
			got[1].Event != nil || *got[1].MTU != 65520 {
			t.Fatalf("events %v", texts(got))
		}
		if d := rtlink.DecodeIPoIB(got[1].Info.Data); *d.Mode != 1 {
			t.Errorf("mode %d", *d.Mode)
		}
	})
}

// TestEcho: with NLM_F_ECHO the requester gets the message about the link
// that it made or deleted, before the acknowledgement.
func TestEcho(t *testing.T) {
	inWorld(t, func(w *world) {
		ev := w.listen()
		mine := w.dial(nl.ConnConfig{Groups: 1})
		a := w.askOn(mine, rtlink.NewLink, create|netlink.Echo, header{}, func(e *nl.Encoder) {
			e.U32(rtlink.AttrLink, uint32(w.ib0.Info().Ifindex))
			e.String(rtlink.AttrIfname, "i1")
			kind(e, rtlink.IPoIB{})
		})
		if a.errno != 0 || len(a.links) != 1 || a.links[0].Name != "i1" || a.links[0].Change != rtlink.ChangeAll || a.flags != 0 {
			t.Fatalf("echo: %v, %d links", a, len(a.links))
		}
		if got := ev.read(); len(got) != 1 || got[0].Header.Sequence != w.seq {
			t.Errorf("others heard %v", texts(got))
		}
		if got := (&events{w, mine}).read(); len(got) != 0 {
			t.Errorf("the requester heard it again: %v", texts(got))
		}
		a = w.askOn(mine, rtlink.DelLink, netlink.Echo, header{index: a.links[0].Index}, nil)
		if a.errno != 0 || len(a.links) != 1 {
			t.Errorf("deletion: %v, %d links", a, len(a.links))
		}
		// A failed request echoes nothing.
		a = w.askOn(mine, rtlink.NewLink, create|netlink.Echo, header{}, func(e *nl.Encoder) { kind(e, rtlink.IPoIB{}) })
		if a.errno != syscall.EINVAL || len(a.links) != 0 {
			t.Errorf("failure: %v", a)
		}
	})
}

// TestNotifyNamespaces: events stay in the namespace of the interface; a move
// is an end here and a beginning there.
func TestNotifyNamespaces(t *testing.T) {
	inWorld(t, func(w *world) {
		if a := w.add("i1", 0x8001, nil); a.errno != 0 {
			t.Fatal(a)
		}
		other := w.net.AddNamespace(t, "h2")
		p := nltest.NewPeer()
		p.SetNetNS(nl.NetNS{Dev: other.ID().Dev, Ino: other.ID().Ino}, "")
		there := &events{w, nltest.Dial(t, w.srv, p, nl.ConnConfig{Groups: 1})}
		here := w.listen()
		i1 := w.drv.ByName(w.id(), "i1")
		ns, err := w.net.ByName("h2")
		w.must(err)
		w.must(i1.SetNamespace(ns))
		if got := texts(here.read()); !slices.Equal(got, []string{"17 i1 change 0xffffffff"}) {
			t.Errorf("here: %v", got)
		}
		if got := texts(there.read()); len(got) == 0 || got[0] != "16 i1 change 0xffffffff" {
			t.Errorf("there: %v", got)
		}
		w.must(w.ib0.SetAlias("parent"))
		if got := there.read(); len(got) != 0 {
			t.Errorf("there: %v", texts(got))
		}
	})
}

// TestSlowListener: a client that does not read delays nobody, and is told
// that it lost messages.
func TestSlowListener(t *testing.T) {
	inWorld(t, func(w *world) {
		slow := w.listen()
		h := header{index: int32(w.ib0.Info().Ifindex)}
		start := time.Now()
		for n := range 1000 {
			a := w.ask(rtlink.NewLink, 0, h, func(e *nl.Encoder) { e.U32(rtlink.AttrMTU, uint32(1400+n%2)) })
			if a.errno != 0 {
				t.Fatal(a)
			}
		}
		if d := time.Since(start); d > 0 {
			t.Errorf("virtual time passed: %v", d)
		}
		lost := false
		w.must(slow.conn.SetReadDeadline(time.Now().Add(time.Second)))
		defer func() { w.must(slow.conn.SetReadDeadline(time.Time{})) }()
		for {
			_, err := slow.conn.ReadDatagram()
			if errors.Is(err, syscall.ENOBUFS) {
				lost = true
				continue
			}
			if err != nil {
				break
			}
		}
		if !lost {
			t.Error("the slow listener was not told of its loss")
		}
	})
}

// TestNSID: without a namespace there is nothing to answer.
func TestNSID(t *testing.T) {
	inWorld(t, func(w *world) {
		ask := func(fill func(*nl.Encoder)) answer {
			w.seq++
			var e nl.Encoder
			_ = e.Message(netlink.Header{Type: rtlink.GetNSID, Flags: netlink.Request, Sequence: w.seq}, func(e *nl.Encoder) error {
				e.Raw([]byte{0})
				fill(e)
				return nil
			})
			w.must(w.conn.WriteDatagram(e.Bytes()))
			d, err := w.conn.ReadDatagram()
			w.must(err)
			h := nl.ParseHeader(d.Bytes)
			if h.Type != netlink.Error {
				return answer{}
			}
			return answer{errno: syscall.Errno(-int32(binary.NativeEndian.Uint32(d.Bytes[nl.HeaderLen:])))}
		}
		for what, tc := range map[string]struct {
			fill func(*nl.Encoder)
			want syscall.Errno
		}{
			"nothing":            {func(*nl.Encoder) {}, syscall.EINVAL},
			"unknown process":    {func(e *nl.Encoder) { e.U32(rtlink.NSIDAttrPID, 1<<30) }, syscall.ESRCH},
			"unknown descriptor": {func(e *nl.Encoder) { e.U32(rtlink.NSIDAttrFD, 1<<20) }, syscall.EBADF},
			"by id":              {func(e *nl.Encoder) { e.S32(rtlink.NSIDAttrNSID, 1) }, syscall.EOPNOTSUPP},
		} {
			if a := ask(tc.fill); a.errno != tc.want {
				t.Errorf("%s: %v, want %v", what, a.errno, tc.want)
			}
		}
	})
}

// FuzzRequest sends arbitrary messages of all types of this face.
func FuzzRequest(f *testing.F) {
	var e nl.Encoder
	rtlink.AppendHeader(&e, 0, 0, 2, 1, 1)
	e.U32(rtlink.AttrMTU, 1500)
	e.String(rtlink.AttrIfname, "ib0")
	kind(&e, rtlink.IPoIB{PKey: new(uint16(0x8001)), Mode: new(uint16(1)), Umcast: new(uint16(1))})
	f.Add(uint16(rtlink.NewLink), uint16(netlink.Create), e.Bytes())
	f.Add(uint16(rtlink.GetLink), uint16(netlink.Dump), e.Bytes())
	f.Add(uint16(rtlink.DelLink), uint16(0), e.Bytes())
	f.Add(uint16(rtlink.NewLinkProp), uint16(0), append(make([]byte, 16), altNames("x")...))
	f.Add(uint16(rtlink.GetNSID), uint16(0), []byte{0, 0, 0, 0, 8, 0, 3, 0, 1, 0, 0, 0})
	types := []netlink.HeaderType{
		rtlink.NewLink, rtlink.DelLink, rtlink.GetLink, rtlink.SetLink, rtlink.NewLinkProp, rtlink.DelLinkProp, rtlink.GetNSID,
	}
	f.Fuzz(func(t *testing.T, typ, flags uint16, body []byte) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			defer func() {
				w.face.Close()
				w.drv.Close(false)
				synctest.Wait()
			}()
			var e nl.Encoder
			_ = e.Message(netlink.Header{
				Type: types[int(typ)%len(types)], Flags: netlink.Request | netlink.HeaderFlags(flags), Sequence: 1 << 30,
			}, func(e *nl.Encoder) error {
				e.Raw(body)
				return nil
			})
			if w.conn.WriteDatagram(e.Bytes()) != nil {
				return
			}
			// The service is still there, and so is ib0.
			if a := w.dump(nil); a.errno == syscall.EBUSY {
				return // the dump before has not ended
			} else if len(a.links) < 1 {
				t.Errorf("%d links afterwards, %v", len(a.links), a)
			}
		})
	})
}
