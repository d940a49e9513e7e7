package main

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"ipoib/nl/ipoibnl"
)

func paramCommand(e env) *cli.Command {
	show := func(c *cli.Context) error { return showParams(c, e) }
	return &cli.Command{
		Name: "param", Usage: "show and set the driver's module parameters",
		ArgsUsage: "[NAME]", Flags: []cli.Flag{jsonFlag()}, Action: show,
		Description: "The parameters are those of ib_ipoib. Debug levels can be set at any time, above 0\n" +
			"they are on; queue sizes are fixed when the service starts (ipoib serve --param).",
		Subcommands: []*cli.Command{
			{Name: "show", Aliases: []string{"list"}, Usage: "show the parameters", ArgsUsage: "[NAME]", Flags: []cli.Flag{jsonFlag()}, Action: show},
			{Name: "set", Usage: "set a parameter", ArgsUsage: "NAME VALUE", SkipFlagParsing: true, Action: setParam},
		},
	}
}

func showParams(c *cli.Context, e env) error {
	if c.NArg() > 1 {
		return fmt.Errorf("unexpected argument %q", c.Args().Get(1))
	}
	cl, err := dial(c)
	if err != nil {
		return err
	}
	defer func() { _ = cl.Close() }()
	list, err := ipoibnl.Dump[ipoibnl.Param](cl, ipoibnl.CmdParamGet, ipoibnl.Filter{})
	if err != nil {
		return err
	}
	name := c.Args().First()
	if name != "" {
		list = slices.DeleteFunc(list, func(p ipoibnl.Param) bool { return p.Name != name })
		if len(list) == 0 {
			return fmt.Errorf("no parameter %q", name)
		}
	}
	if c.Bool("json") {
		return printJSON(e.out, list)
	}
	if name != "" {
		_, err := fmt.Fprintln(e.out, list[0].Value)
		return err
	}
	t := newTable(e.out, "PARAMETER", "VALUE", "SET")
	for _, p := range list {
		when := "at start"
		if p.Writable {
			when = "at any time"
		}
		t.row(p.Name, p.Value, when)
	}
	return t.flush()
}

func setParam(c *cli.Context) error {
	if c.NArg() != 2 {
		return fmt.Errorf("Usage: ipoib param set NAME VALUE")
	}
	cl, err := dial(c)
	if err != nil {
		return err
	}
	defer func() { _ = cl.Close() }()
	return cl.Do(ipoibnl.CmdParamSet, ipoibnl.Param{Name: c.Args().Get(0), Value: c.Args().Get(1)})
}
