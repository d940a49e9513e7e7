package genl_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"ipoib/nl"
	"ipoib/nl/genl"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
)

// A family that adds one to a number, and a client of it.
func Example() {
	dir, err := os.MkdirTemp("", "genl")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "netlink.sock")

	srv := nl.NewServer(nl.Config{})
	defer srv.Close()
	_, err = genl.New(srv).Register(genl.Family{
		Name: "adder", Version: 1,
		Ops: []genl.Op{{
			Cmd:    1,
			Policy: &nl.Policy{Attrs: []nl.AttrPolicy{1: nl.U32().Max(99)}},
			Do: func(r *genl.Request) error {
				a, err := r.Require(1)
				if err != nil {
					return err
				}
				return r.Reply(1, func(e *nl.Encoder) error {
					e.U32(1, a.Uint32()+1)
					return nil
				})
			},
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	l, err := nl.Listen(path, 0o666)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go srv.Serve(ctx, l)

	conn, err := nl.Dial(ctx, path, nl.ConnConfig{Protocol: nl.ProtoGeneric, ExtAck: true})
	if err != nil {
		log.Fatal(err)
	}
	c := genetlink.NewConn(conn.NetlinkConn())
	defer c.Close()
	family, err := c.GetFamily("adder")
	if err != nil {
		log.Fatal(err)
	}
	for _, n := range []uint32{41, 100} {
		ae := netlink.NewAttributeEncoder()
		ae.Uint32(1, n)
		b, err := ae.Encode()
		if err != nil {
			log.Fatal(err)
		}
		ms, err := c.Execute(genetlink.Message{Header: genetlink.Header{Command: 1}, Data: b}, family.ID, netlink.Request)
		if err != nil {
			fmt.Println(err)
			continue
		}
		ad, err := netlink.NewAttributeDecoder(ms[0].Data)
		if err != nil {
			log.Fatal(err)
		}
		for ad.Next() {
			fmt.Println(ad.Uint32())
		}
	}
	// Output:
	// 42
	// netlink receive: numerical result out of range, offset: 20, message: "integer out of range"
}
