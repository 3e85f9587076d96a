# Plain `make` lists what there is.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X capstan/internal/cli.version=$(VERSION)
PLATFORMS := linux/amd64 linux/arm64 darwin/arm64 windows/amd64
LINT := go tool -modfile=tools/go.mod golangci-lint
GOTESTSUM := go tool -modfile=tools/go.mod gotestsum --format standard-quiet
PACKAGES ?= ./...
FUZZTIME ?= 30s
BENCHFLAGS ?=

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/capstan for this machine
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/capstan ./cmd/capstan

.PHONY: test
test: tools ## run vet and every test, as CI does; a skipped test fails, a failed one has a second try alone
	go vet ./...
	@go build -o bin/noskip ./scripts/noskip
	@rm -f bin/unsteady.txt
	$(GOTESTSUM) $(AGAIN) --jsonfile bin/test.json --packages '$(PACKAGES)' -- -count=1 -shuffle=on -timeout 30m -skip '$(BY_CHANCE)'
	@bin/noskip < bin/test.json
	CGO_ENABLED=0 $(GOTESTSUM) --jsonfile bin/test.json -- -count=1 -shuffle=on $(PURE)
	@bin/noskip < bin/test.json
	@if [[ -s bin/unsteady.txt ]]; then echo 'UNSTEADY, to be mended (what they said is above):'; cat bin/unsteady.txt; fi

# Many tests kill, cut off and hold up real processes on two busy cores. One or two that
# fail may run once more, alone; they are told, and are defects (docs/decisions/0019).
AGAIN := --rerun-fails=1 --rerun-fails-max-failures=4 --rerun-fails-run-root-test --rerun-fails-report bin/unsteady.txt

# Tests that meet another operation each time, since the n-th one is a matter of timing:
# they search for what nobody has seen, in make test-crash.
BY_CHANCE := ^TestFaults

# Packages whose code differs without cgo.
PURE := ./internal/codec/... ./internal/archive/...

.PHONY: race
race: tools ## run the tests under the race detector, of the program itself those that are about its goroutines
	$(GOTESTSUM) $(AGAIN) --rerun-fails-abort-on-data-race --packages "$$(go list ./... | grep -v /internal/cli)" -- -count=1 -race -timeout 30m -skip '$(NO_RACE)'
	$(GOTESTSUM) $(AGAIN) --rerun-fails-abort-on-data-race --packages ./internal/cli -- -count=1 -race -timeout 30m -run 'Scripts|Chain|HostileTree|Timeout|Unread'

.PHONY: test-crash
test-crash: tools ## the long forms of what is killed, cut off and damaged (hours: 1,000 kills, 500 images, every fault, 1,000 flips of each kind)
	go test -count=1 -timeout 120m -v -run 'TestKilled$$' ./internal/cli -args -kills=1000
	go test -count=1 -timeout 60m -v -run 'TestPowerLoss' ./internal/cli -args -images=500
	go test -count=1 -timeout 120m -v -run TestFlips ./internal/daemon -args -flips=1000
	go test -count=1 -timeout 60m -v -run TestFlippedBits ./internal/cli -args -flips=10
	go test -count=1 -timeout 24h -parallel 8 -run 'TestFaults' ./internal/cli -args -faults=all

.PHONY: test-tape
test-tape: tools ## the suites of tape drives and changers, also on the kernel's own driver in a virtual machine
	go test -count=1 -v ./internal/drive/... ./internal/capstantest/vm

.PHONY: test-long
test-long: tools ## the long forms of what takes its time (endurance, retention, consolidation, every fuzz target)
	go test -count=1 -timeout 60m -v -run 'TestEndurance$$' ./internal/daemon -args -endurance=10m
	go test -count=1 -timeout 60m ./internal/policy -run TestHistories -args -steps=100000
	go test -count=1 -timeout 60m ./internal/daemon -run TestConsolidat -args -consolidations=150
	go test -count=1 -timeout 60m -v -run 'TestStorm$$|TestManyTables' ./internal/source/postgres -args -storms=50 -tables=10000
	go test -count=1 -timeout 60m ./internal/drive/emulator -run TestHistories -args -histories=20000
	scripts/fuzz.sh 60s

# Tests that measure, or repeat the same steps hundreds of times: the race detector
# makes them slow and their figures wrong, and has seen those steps in others.
NO_RACE := Memory|Sweep|Killed|KillAtEveryStep|IsFast|ManyFiles|Histories|Spill/|Doctor|Endurance|Flips|Consolidat|TestFaults

.PHONY: lint
lint: ## run the linters and check the formatting (.golangci.yml)
	$(LINT) run

.PHONY: fmt
fmt: ## format the code
	$(LINT) fmt

.PHONY: cross
cross: ## compile, vet and link without cgo for every platform
	@for platform in $(PLATFORMS); do \
		echo "$$platform"; \
		export CGO_ENABLED=0 GOOS=$${platform%/*} GOARCH=$${platform#*/}; \
		go vet ./...; \
		go build -o /dev/null ./cmd/capstan; \
	done

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (30s)
	scripts/fuzz.sh $(FUZZTIME)

.PHONY: bench
bench: build ## measure capstan beside its peers; writes docs/benchmarks.md (BENCHFLAGS=-help)
	scripts/install-test-tools.sh bench
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/capstan-pure ./cmd/capstan
	go test -c -o bin/catalog.test ./internal/catalog
	go build -o bin/bench ./bench
	bin/bench -capstan bin/capstan $(BENCHFLAGS)

.PHONY: tools
tools: ## install the programs that the tests run, where they are missing
	@scripts/install-test-tools.sh

.PHONY: clean
clean: ## remove what was built here
	rm -rf bin
