# Each target is a line that a person could type. See docs/contributing.md.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X ipoib/cmd/internal/build.Version=$(VERSION)
# Without the manual pages of the flags library a command starts sooner.
TAGS    := urfave_cli_no_docs
LINT    := bin/golangci-lint
LINT_VERSION := v2.15.0
FUZZTIME ?= 10s
TESTFLAGS ?=

.PHONY: all build test unit race integration lint fuzz bench demo deps clean

all: build

build:
	CGO_ENABLED=0 $(GO) build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' -o bin/ ./cmd/ipoib ./cmd/ipoib-ethtool

# What the tests need from Debian; installs only what is missing, and says so.
deps:
	@tests/deps.sh

test: deps build unit race integration

unit:
	IPOIB_TEST_TOOLS=1 $(GO) test ./...

# Comparisons with real programs, which unit has made, would tell nothing of races.
race:
	IPOIB_TEST_TOOLS=0 $(GO) test -race ./...

# In namespaces of its own, as root: whatever a test leaves behind is gone. Only
# tests that fail say something, so that it is not lost among the others; with
# TESTFLAGS=-v all do.
integration: build
	tests/isolated.sh $(GO) test -tags integration -p 1 -count=1 -timeout 30m $(TESTFLAGS) ./tests/... ./datapath/tun ./datapath/hostnet ./compat/fusefs

lint: $(LINT)
	$(LINT) run ./...
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./rdma/... ./nl/... ./datapath/...

$(LINT):
	GOBIN=$(CURDIR)/bin $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

# Every fuzz target of every package for FUZZTIME.
fuzz:
	@for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; \
	done

# Side by side with veth, VXLAN and wireguard-go; results go to docs/bench.
# BENCHFLAGS=-quick is a short run without files, BENCHFLAGS=-help tells more.
bench: deps build
	tests/isolated.sh $(GO) run ./tests/bench $(BENCHFLAGS)

demo: deps build
	@[ "$$(id -u)" = 0 ] || { echo "make demo needs root, for network namespaces" >&2; exit 1; }
	@tests/isolated.sh tests/demo.sh

clean:
	rm -rf bin
