package ipoibnl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"

	"ipoib/nl"
)

// Client asks the family "ipoib" of a running service.
type Client struct {
	nl     *nl.Conn
	conn   *genetlink.Conn
	family genetlink.Family
}

// Dial connects to the service's socket. Its errors are those of nl.Dial.
func Dial(ctx context.Context, path string) (*Client, error) {
	conn, err := nl.Dial(ctx, path, nl.ConnConfig{Protocol: nl.ProtoGeneric, ExtAck: true})
	if err != nil {
		return nil, err
	}
	return New(conn)
}

// New returns a client on a connection of NETLINK_GENERIC, which it takes
// over.
func New(conn *nl.Conn) (c *Client, err error) {
	c = &Client{nl: conn, conn: genetlink.NewConn(conn.NetlinkConn())}
	if c.family, err = c.conn.GetFamily(Name); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("ipoibnl: the service has no family %q: %w", Name, err)
	}
	return c, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// message makes a request.
func message(cmd uint8, req any) (genetlink.Message, error) {
	e := nl.NewEncoder(nil)
	if req != nil {
		Marshal(e, req)
	}
	return genetlink.Message{Header: genetlink.Header{Command: cmd, Version: Version}, Data: e.Bytes()}, e.Err()
}

func (c *Client) request(cmd uint8, flags netlink.HeaderFlags, req any) ([]genetlink.Message, error) {
	m, err := message(cmd, req)
	if err != nil {
		return nil, err
	}
	return c.conn.Execute(m, c.family.ID, netlink.Request|flags)
}

// Do sends a request without an answer but the acknowledgement. Errors are
// *netlink.OpError with the service's errno and text.
func (c *Client) Do(cmd uint8, req any) error {
	_, err := c.request(cmd, netlink.Acknowledge, req)
	return err
}

// Get sends a request and reads the one answer into resp.
func (c *Client) Get(cmd uint8, req, resp any) error {
	msgs, err := c.request(cmd, 0, req)
	if err != nil {
		return err
	}
	if len(msgs) != 1 {
		return fmt.Errorf("ipoibnl: %d answers to one request", len(msgs))
	}
	return Unmarshal(msgs[0].Data, resp)
}

// Dump sends a dump request and returns the objects of the answer.
func Dump[T any](c *Client, cmd uint8, req any) ([]T, error) {
	msgs, err := c.request(cmd, netlink.Dump, req)
	if err != nil {
		return nil, err
	}
	out := make([]T, len(msgs))
	for i := range msgs {
		if err := Unmarshal(msgs[i].Data, &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Stream sends a request that is answered until the connection closes, and
// calls fn with each object. Before the first, and as soon as the service has
// taken the request, begun is called, unless it is nil. Stream returns the
// error of a function, or that of the connection.
func Stream[T any](c *Client, cmd uint8, req any, begun func() error, fn func(*T) error) error {
	m, err := message(cmd, req)
	if err != nil {
		return err
	}
	if _, err := c.conn.Send(m, c.family.ID, netlink.Request|netlink.Acknowledge); err != nil {
		return err
	}
	for {
		msgs, raw, err := c.conn.Receive()
		if err != nil {
			return err
		}
		for i, m := range msgs {
			if begun != nil {
				if err := begun(); err != nil {
					return err
				}
				begun = nil
			}
			if raw[i].Header.Type == netlink.Error {
				continue // the acknowledgement, between objects or before
			}
			v := new(T)
			if err := Unmarshal(m.Data, v); err != nil {
				return err
			}
			if err := fn(v); err != nil {
				return err
			}
		}
	}
}

// Stop asks the service to end; with teardown nothing of it stays. The service
// may be gone before its answer is read, which is no error.
func (c *Client) Stop(teardown bool) error {
	err := c.Do(CmdServiceStop, ServiceStop{Teardown: teardown})
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
